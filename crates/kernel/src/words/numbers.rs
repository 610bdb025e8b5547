//! Numbers and amounts of money as people write them. One that is a thousand to some and one to
//! others is neither.
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

const CURRENCIES: &[&str] = &[
    "AUD", "BRL", "CAD", "CHF", "CNY", "CZK", "DKK", "EUR", "GBP", "HKD", "HUF", "ILS", "INR", "JPY", "KRW", "MXN",
    "NOK", "NZD", "PLN", "RON", "SEK", "SGD", "THB", "TRY", "USD", "ZAR",
];

/// Of a code, or of a sign that means one currency to most; `¥` and `kr` mean several.
pub fn currency(text: &str) -> Option<&'static str> {
    let code = match text {
        "$" => "USD",
        "€" => "EUR",
        "£" => "GBP",
        code => code,
    };
    CURRENCIES.iter().copied().find(|known| *known == code)
}

/// Without separators, leading zeros and zeros behind the point, but for one that tells a fraction from a
/// thousand.
pub fn number(text: &str) -> Option<String> {
    let (sign, digits) = text.strip_prefix('-').map_or(("", text), |digits| ("-", digits));
    let (whole, part) = split(digits)?;
    let part = part.trim_end_matches('0');
    // `007` is a name.
    if (whole.len() > 1 && whole.starts_with('0')) || whole.len() + part.len() > 30 {
        return None;
    }
    let point = if part.is_empty() { "" } else { "." };
    let zero = if part.len() == 3 && whole.len() <= 3 { "0" } else { "" };
    let plain = format!("{whole}{point}{part}{zero}");
    Some(if plain == "0" { plain } else { format!("{sign}{plain}") })
}

/// Digits before the decimal separator and after it.
fn split(text: &str) -> Option<(String, &str)> {
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let separators: Vec<char> = text.chars().filter(|c| matches!(c, '.' | ',')).collect();
    let (first, last) = match separators.as_slice() {
        [] => return is_digits(text).then(|| (text.to_string(), "")),
        [first, .., last] => (*first, *last),
        [only] => {
            let (whole, part) = text.split_once(*only)?;
            // `1,000` and `1.000`: a thousand here is one there.
            let is_ambiguous = part.len() == 3 && whole.len() <= 3;
            return (is_digits(whole) && is_digits(part) && !is_ambiguous).then(|| (whole.to_string(), part));
        }
    };
    let (grouped, part) = if first == last { (text, "") } else { text.rsplit_once(last)? };
    let mut groups = grouped.split(first);
    let head = groups.next()?;
    let groups: Vec<&str> = groups.collect();
    let is_grouped =
        is_digits(head) && head.len() <= 3 && groups.iter().all(|group| is_digits(group) && group.len() == 3);
    let is_whole = is_grouped && (part.is_empty() == (first == last)) && part.bytes().all(|b| b.is_ascii_digit());
    is_whole.then(|| (format!("{head}{}", groups.concat()), part))
}

/// `AMOUNT CURRENCY`, from any of `$5`, `5 EUR`, `EUR 5`, `5€`; no more than two places.
pub fn money(text: &str) -> Option<String> {
    let is_of_number = |c: char| c.is_ascii_digit() || matches!(c, '.' | ',' | '-');
    let start = text.find(is_of_number)?;
    let (before, rest) = text.split_at_checked(start)?;
    let end = rest.find(|c| !is_of_number(c)).unwrap_or(rest.len());
    let (digits, after) = rest.split_at_checked(end)?;
    let of = |text: &str| currency(text.trim());
    let code = match (of(before), of(after)) {
        (Some(code), None) if after.is_empty() => code,
        (None, Some(code)) if before.is_empty() => code,
        _ => return None,
    };
    let amount = number(digits)?;
    let places = amount.split_once('.').map_or(0, |(_, places)| places.len());
    (places <= 2 && !amount.starts_with('-')).then(|| format!("{amount} {code}"))
}
