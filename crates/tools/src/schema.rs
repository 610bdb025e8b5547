//! The JSON Schema of a tool that is not built in, ready to check arguments with.
use backstay_kernel::facts::Invalid;
use jsonschema::{PatternOptions, Validator};
use serde_json::{Map, Value};

use crate::limits;
use crate::prepare::Refused;

#[derive(Debug)]
pub struct Schema {
    text: String,
    properties: Vec<Property>,
    validator: Validator,
}

/// One argument, as far as the schema tells at its top.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Property {
    pub name: String,
    pub is_required: bool,
    /// A text, a number or a flag, and nothing else: it can stand in a word of a command.
    pub is_scalar: bool,
}

impl Schema {
    /// Takes what describes an object, refers to nothing outside of itself, and has patterns that take time in
    /// proportion to the text.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn read(text: &str) -> Result<Self, String> {
        if text.len() > limits::SCHEMA_BYTES_MAX {
            return Err(format!("it has more than {} bytes", limits::SCHEMA_BYTES_MAX));
        }
        let value: Value = serde_json::from_str(text).map_err(|error| format!("it is not JSON: {error}"))?;
        if value.get("type").and_then(Value::as_str) != Some("object") {
            return Err("it must have `\"type\": \"object\"`".to_owned());
        }
        let patterns = PatternOptions::regex().size_limit(limits::PATTERN_PROGRAM_BYTES_MAX);
        let validator = jsonschema::options().with_pattern_options(patterns).build(&value);
        let validator = validator.map_err(|error| format!("it is not a JSON Schema: {error}"))?;
        // As the model is sent it: the spaces of a person's layout would be paid for by every request.
        Ok(Self { text: value.to_string(), properties: properties(&value), validator })
    }

    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    #[must_use]
    pub fn properties(&self) -> &[Property] {
        &self.properties
    }

    /// The arguments, where they are an object that fits.
    pub(crate) fn arguments(&self, tool: &str, arguments: &str) -> Result<Map<String, Value>, Refused> {
        let bad = |why: String| Refused::new(Invalid::BadArguments, format!("the arguments of `{tool}`: {why}"));
        if arguments.len() > limits::ARGUMENTS_BYTES_MAX {
            return Err(bad(format!("they have more than {} bytes", limits::ARGUMENTS_BYTES_MAX)));
        }
        let value: Value = serde_json::from_str(arguments).map_err(|error| bad(error.to_string()))?;
        if let Err(error) = self.validator.validate(&value) {
            let place = error.instance_path().to_string();
            let at = if place.is_empty() { String::new() } else { format!("{place}: ") };
            return Err(bad(format!("{at}{error}")));
        }
        let Value::Object(values) = value else { return Err(bad("they must be a JSON object".to_owned())) };
        // Whatever the schema leaves open, what it does not name has no role that anybody looked at.
        if let Some(name) = values.keys().find(|name| !self.properties.iter().any(|known| known.name == **name)) {
            return Err(bad(format!("there is no argument `{name}`")));
        }
        Ok(values)
    }
}

fn properties(schema: &Value) -> Vec<Property> {
    let required: Vec<&str> =
        schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    let declared = schema.get("properties").and_then(Value::as_object).into_iter().flatten();
    let is_scalar = |of: &Value| {
        let kind = of.get("type").and_then(Value::as_str);
        kind.is_some_and(|kind| matches!(kind, "string" | "integer" | "number" | "boolean"))
    };
    let property = |(name, of): (&String, &Value)| Property {
        name: name.clone(),
        is_required: required.contains(&name.as_str()),
        is_scalar: is_scalar(of),
    };
    declared.map(property).collect()
}
