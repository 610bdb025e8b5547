//! By what else than their own form values of a tool's arguments are known, as the operator wrote it.
use std::collections::BTreeMap;

use backstay_kernel::tool::{EffectClass, Idempotency, Known, Listing, Name};
use backstay_kernel::words::{Kind, Sign};
use backstay_tools::{Role, Terms};

use super::check::Checker;
use super::mcp::JOINT;
use super::mistake::{Code, Collector, quoted};
use super::raw::View;
use super::value::Spot;

impl Checker<'_> {
    /// What stands beside the role of each argument of a tool, which is one of `server`'s.
    pub fn known_values(
        &mut self,
        table: View<'_>,
        server: &str,
        roles: &BTreeMap<String, Role>,
    ) -> Option<Vec<(String, Known)>> {
        let mut out = Vec::new();
        for (argument, table) in table.named("arguments") {
            let mut known = Vec::new();
            let names = table.texts("names").map_or(&[][..], |names| names.value);
            if !names.is_empty() {
                known.push(Known::Listed(self.names(names)?));
            }
            if let Some(listing) = table.table("listing") {
                known.push(Known::Listing(Box::new(self.listing(listing, server)?)));
            }
            let tools = table.texts("created_by").map_or(&[][..], |tools| tools.value);
            if !tools.is_empty() {
                known.push(Known::Created(tools.iter().map(|tool| full(server, &tool.value)).collect()));
            }
            let chooses =
                matches!(roles.get(argument), Some(Role::Authority(kind)) if !matches!(kind, Kind::Path | Kind::Url));
            if !known.is_empty() && !chooses {
                let message =
                    format!("the argument {}: its role is none of a value that is known by a name", quoted(argument));
                self.mistakes.suggest(
                    table.place,
                    Code::BadValue,
                    message,
                    "use `authority`, `email`, `account` or `id`",
                );
                return None;
            }
            out.extend(known.into_iter().map(|known| (argument.to_owned(), known)));
        }
        Some(out)
    }

    fn names(&mut self, names: &[Spot<String>]) -> Option<Vec<Name>> {
        let mut out = Vec::new();
        for Spot { place, value } in names {
            let Some((name, value)) =
                value.split_once('=').filter(|(name, value)| !name.is_empty() && !value.is_empty())
            else {
                self.mistakes.add(*place, Code::BadValue, format!("`names`: {} is no `WORDS=VALUE`", quoted(value)));
                return None;
            };
            out.push(Name { name: name.to_owned(), value: value.to_owned() });
        }
        Some(out)
    }

    fn listing(&mut self, table: View<'_>, server: &str) -> Option<Listing> {
        let arguments = table.text("arguments")?;
        if !serde_json::from_str(arguments.value).is_ok_and(|value: serde_json::Value| value.is_object()) {
            self.mistakes.add(arguments.place, Code::BadValue, "`arguments` is no JSON object".to_owned());
            return None;
        }
        let tool = full(server, table.text("tool")?.value);
        Some(Listing {
            tool,
            arguments: arguments.value.to_owned(),
            list: pointer(&mut self.mistakes, table, "list")?,
            name: pointer(&mut self.mistakes, table, "name")?,
            value: pointer(&mut self.mistakes, table, "value")?,
            sign: sign(table.text("sign")?.value),
            unquoted: table.flag("unquoted"),
        })
    }

    /// Where the id of what a call creates stands; an answer as a whole is none.
    pub fn creates(&mut self, table: View<'_>) -> Option<Option<String>> {
        if table.text("creates").is_none() {
            return Some(None);
        }
        pointer(&mut self.mistakes, table, "creates").map(Some)
    }

    /// The tools that make lists, or what a session created, are there and are such ones.
    pub fn known_tools(&mut self, table: View<'_>, server: &str, tools: &BTreeMap<String, Terms>) {
        let find = |tool: &String| tool.split_once(JOINT).and_then(|(_, tool)| tools.get(tool));
        let lists = |terms: &Terms| terms.class == EffectClass::Read && terms.idempotency == Idempotency::Idempotent;
        for (name, of) in table.named("tools") {
            for (argument, known) in tools.get(name).map(|terms| terms.known.as_slice()).unwrap_or_default() {
                let wrong = match known {
                    Known::Listed(_) => continue,
                    Known::Listing(listing) => (!find(&listing.tool).is_some_and(lists)).then_some(
                        "`listing`: its tool must be declared with `class = \"read\"` and `idempotency = \"idempotent\"`",
                    ),
                    Known::Created(by) => (!by.iter().all(|tool| find(tool).is_some_and(|terms| terms.creates.is_some())))
                        .then_some("`created_by`: each of the tools must be declared with `creates`"),
                };
                if let Some(wrong) = wrong {
                    let place = of
                        .named("arguments")
                        .iter()
                        .find(|(of, _)| of == argument)
                        .map_or(of.place, |(_, of)| of.place);
                    self.mistakes.add(place, Code::BadValue, format!("{wrong}, for the server {}", quoted(server)));
                }
            }
        }
    }
}

/// By its word in the config; each but these two is the strictest.
fn sign(word: &str) -> Sign {
    match word {
        "#" => Sign::Hash,
        "quoted" => Sign::Quoted,
        _ => Sign::At,
    }
}

fn full(server: &str, tool: &str) -> String {
    format!("{server}{JOINT}{tool}")
}

fn pointer(mistakes: &mut Collector, table: View<'_>, key: &str) -> Option<String> {
    let text = table.text(key)?;
    if text.value.is_empty() || text.value.starts_with('/') {
        return Some(text.value.to_owned());
    }
    mistakes.add(
        text.place,
        Code::BadValue,
        format!("`{key}`: {} is no JSON Pointer: it begins with `/`", quoted(text.value)),
    );
    None
}
