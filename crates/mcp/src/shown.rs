//! A server's answer as a text.
use rmcp::model::{CallToolResult, ContentBlock, ResourceContents};

/// What a tool of a server answered. All of it is the server's words.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    pub text: String,
    /// What it answered as values, in JSON, where it did.
    pub values: Option<String>,
    /// It says that it failed; what it had done before nobody knows.
    pub is_error: bool,
    /// Protected names that the server made or changed, and that were taken out of use.
    pub quarantined: Vec<String>,
}

impl Answer {
    pub fn of(result: &CallToolResult) -> Self {
        let parts: Vec<String> = result.content.iter().map(part).collect();
        let mut text = parts.join("\n");
        // Servers repeat it as a text, for clients that know no other.
        if let (true, Some(value)) = (parts.is_empty(), &result.structured_content) {
            text = value.to_string();
        }
        let values = result.structured_content.as_ref().map(ToString::to_string);
        Self { text, values, is_error: result.is_error == Some(true), quarantined: Vec::new() }
    }
}

/// Text as it is; of anything else what it is.
fn part(part: &ContentBlock) -> String {
    let left_out = |kind: &str, base64: &str| {
        let bytes = base64.len() / 4 * 3;
        format!("[{kind}, about {bytes} bytes, is not shown]")
    };
    match part {
        ContentBlock::Text(text) => text.text.clone(),
        ContentBlock::Image(image) => left_out(&image.mime_type, &image.data),
        ContentBlock::Audio(audio) => left_out(&audio.mime_type, &audio.data),
        ContentBlock::ResourceLink(link) => format!("[resource {}]", link.uri),
        ContentBlock::Resource(embedded) => match &embedded.resource {
            ResourceContents::TextResourceContents { text, .. } => text.clone(),
            ResourceContents::BlobResourceContents { uri, blob, .. } => left_out(uri, blob),
            _ => "[a resource of an unknown kind is not shown]".to_owned(),
        },
        _ => "[content of an unknown kind is not shown]".to_owned(),
    }
}
