//! Tools that are not built in: what the operator wrote of each must fit together before any agent is offered it.
use std::collections::BTreeMap;
use std::sync::Arc;

use backstay_kernel::destination::Audience;
use backstay_kernel::label::{Label, Source};
use backstay_kernel::tool::{EffectClass, Idempotency};
use backstay_kernel::words::Kind;
use backstay_tools::{Argv, Declared, Property, Role, Schema, Terms};

use super::check::Checker;
use super::mcp::JOINT;
use super::mistake::{Code, quoted};
use super::raw::View;
use super::rules;
use super::value::Spot;

impl Checker<'_> {
    /// Those of `[tools]`, which the checker knows by their names from here on.
    pub fn declared_tools(&mut self) -> Vec<Arc<Declared>> {
        let mut out = Vec::new();
        for (name, table) in self.root.named("tools") {
            if self.tools.contains_key(name) {
                let message = format!("the tool {} is built in; give this one another name", quoted(name));
                self.mistakes.add(table.place, Code::Duplicate, message);
                continue;
            }
            if name.contains(JOINT) {
                let message =
                    format!("the name {} may not hold `{JOINT}`, as those of servers' tools do", quoted(name));
                self.mistakes.add(table.place, Code::BadName, message);
                continue;
            }
            let Some(declared) = self.command(name, table) else { continue };
            self.tools.insert(name.to_owned(), declared.manifest().clone());
            out.push(Arc::new(declared));
        }
        out
    }

    fn command(&mut self, name: &str, table: View<'_>) -> Option<Declared> {
        let schema = self.schema(table);
        let argv = self.argv(table);
        let audience = audience(table);
        let terms = self.terms(table, "", audience);
        let (schema, argv, terms, description) = (schema?, argv?, terms?, table.text("description")?);
        let mut good = self.roles_are_of(table, schema.value.properties());
        for property in schema.value.properties() {
            let wanted = if !argv.value.arguments().any(|name| name == property.name) {
                "has no place in `argv`"
            } else if !property.is_required {
                "has a place in `argv`, so it must be in `required`"
            } else if !property.is_scalar {
                "has a place in `argv`, so its `type` must be string, integer, number or boolean"
            } else {
                continue;
            };
            good = false;
            let message = format!("`schema`: {} {wanted}", quoted(&property.name));
            self.mistakes.add(schema.place, Code::BadValue, message);
        }
        let is_declared = |name: &&str| schema.value.properties().iter().any(|known| known.name == *name);
        if let Some(unknown) = argv.value.arguments().find(|name| !is_declared(name)) {
            good = false;
            let message = format!("`argv`: {} is no property of `schema`", quoted(unknown));
            self.mistakes.add(argv.place, Code::BadValue, message);
        }
        good.then(|| Declared::command(name, description.value, terms, schema.value, argv.value))
    }

    fn schema(&mut self, table: View<'_>) -> Option<Spot<Schema>> {
        let Spot { place, value } = table.text("schema")?;
        match Schema::read(value) {
            Ok(value) => Some(Spot { place, value }),
            Err(why) => {
                self.mistakes.add(place, Code::BadValue, format!("`schema`: {why}"));
                None
            }
        }
    }

    fn argv(&mut self, table: View<'_>) -> Option<Spot<Argv>> {
        let Spot { place, value: words } = table.texts("argv")?;
        let texts: Vec<String> = words.iter().map(|word| word.value.clone()).collect();
        match Argv::read(&texts) {
            Ok(value) => Some(Spot { place, value }),
            Err((at, why)) => {
                let (place, word) = words.get(at).map_or((place, ""), |word| (word.place, word.value.as_str()));
                self.mistakes.add(place, Code::BadValue, format!("`argv`: {}: {why}", quoted(word)));
                None
            }
        }
    }

    /// What the operator says of a call, whatever makes it.
    pub fn terms(&mut self, table: View<'_>, server: &str, audience: Audience) -> Option<Terms> {
        let class = table.text("class")?;
        let timeout = table.integer("timeout")?;
        let timeout_ms_max = backstay_sandbox::TIMEOUT_MS_MAX;
        if timeout.value > timeout_ms_max {
            let message = format!("`timeout` may be at most \"{}m\"", timeout_ms_max / 60_000);
            self.mistakes.add(timeout.place, Code::BadValue, message);
            return None;
        }
        let roles = self.roles(table)?;
        let terms = Terms {
            class: rules::class(class.value)?,
            idempotency: idempotency(table.text("idempotency")?.value)?,
            reversible: table.said("reversible"),
            classes: classes(table),
            known: self.known_values(table, server, &roles)?,
            creates: self.creates(table)?,
            roles,
            result: Label::of(Source::Tool),
            audience,
            timeout_ms: timeout.value,
        };
        match terms.check() {
            Ok(()) => Some(terms),
            Err(why) => {
                self.mistakes.add(class.place, Code::BadValue, why.to_owned());
                None
            }
        }
    }

    fn roles(&mut self, table: View<'_>) -> Option<BTreeMap<String, Role>> {
        let mut roles = BTreeMap::new();
        for (name, table) in table.named("arguments") {
            let role = match (Role::of(table.text("role")?.value)?, table.integer("up_to")) {
                (Role::Authority(Kind::Number), Some(most)) => Role::UpTo(most.value),
                (_, Some(most)) => {
                    self.mistakes.add(most.place, Code::BadValue, "`up_to` goes with the role `number` alone");
                    return None;
                }
                (role, None) => role,
            };
            roles.insert(name.to_owned(), role);
        }
        Some(roles)
    }

    /// A role of an argument that is not there would look right and say nothing.
    fn roles_are_of(&mut self, table: View<'_>, properties: &[Property]) -> bool {
        let mut good = true;
        for (name, role) in table.named("arguments") {
            let known = properties.iter().map(|known| known.name.as_str());
            if !known.clone().any(|known| known == name) {
                good = false;
                self.mistakes.unknown(role.place, Code::UnknownName, "argument", name, known);
            }
        }
        good
    }
}

/// Of calls that give an argument, by its name.
fn classes(table: View<'_>) -> BTreeMap<String, EffectClass> {
    let of = |(name, table): (&str, View<'_>)| Some((name.to_owned(), rules::class(table.text("class")?.value)?));
    table.named("arguments").into_iter().filter_map(of).collect()
}

/// Who gets to know what a tool is told; what nobody declared is public.
pub fn audience(table: View<'_>) -> Audience {
    table.text("audience").and_then(|word| Audience::read(word.value)).unwrap_or_default()
}

fn idempotency(word: &str) -> Option<Idempotency> {
    match word {
        "pure" => Some(Idempotency::Pure),
        "idempotent" => Some(Idempotency::Idempotent),
        "unsafe" => Some(Idempotency::Unsafe),
        _ => None,
    }
}
