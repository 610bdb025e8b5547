//! A page is read as a person would, whatever is wrong with it.
use proptest::prelude::*;

use crate::text_of_html;

#[test]
fn what_a_person_would_not_see_is_left_out() {
    let page = "<!doctype html><html><head><title>Ti&amp;tle</title><style>p{}</style><script>if (a<b) alert('</p>')</script></head>\
        <body><!-- hidden --><h1>Head\n line</h1><p>One <b>bold</b>,&nbsp;two.<br>Three</p><ul><li>a<li><a href=\"/x\">b</a></ul>\
        <noscript>no</noscript><svg><text>drawn</text></svg><pre>  a\n  b</pre><table><tr><td>1<td>2</table></body></html>";
    let text = "Ti&tle\nHead line\nOne bold, two.\nThree\n- a\n- b (/x)\n  a\n  b\n1 2";
    assert_eq!(text_of_html(page), text);
}

#[test]
fn a_page_that_is_cut_or_never_closes_is_read_as_far_as_it_goes() {
    assert_eq!(text_of_html("<head><title>t<p>x"), "t<p>x");
    assert_eq!(text_of_html("<head><meta><body>x"), "x");
    assert_eq!(text_of_html("a<script>b"), "a");
    assert_eq!(text_of_html("<a href='javascript:x'>a</a> <a href=https://b.test>b</a>"), "a b (https://b.test)");
    assert_eq!(text_of_html("1 < 2 &lt; 3 &bogus; &#x41;"), "1 < 2 < 3 &bogus; A");
}

#[test]
fn a_page_that_nests_without_end_is_read_in_linear_time() {
    let page = format!("{}{}x", "<svg>".repeat(50_000), "</p>".repeat(50_000));
    assert_eq!(text_of_html(&page), "");
}

proptest! {
    #[test]
    fn nothing_in_a_page_is_fatal(page in "(<[/!]?[a-z]{0,6}( [a-z]{1,4}='?[^>]{0,4})?>?|\\PC{0,6}|&[a-z#0-9]{0,4};?){0,40}") {
        let text = text_of_html(&page);
        prop_assert!(text.len() <= page.len().saturating_mul(4).saturating_add(16));
    }
}
