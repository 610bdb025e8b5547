//! The rules of one agent, found by the call: of many rules that speak of a tool or of a place each, a call looks
//! at those alone that speak of its own.
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::{Deref, DerefMut};
use serde::{Deserialize, Serialize};

use crate::rule::{Field, Rule, Test};
use crate::subject::Subject;

/// In the order of the config. Whoever changes them in place loses the index, and no rule.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(from = "Vec<Rule>", into = "Vec<Rule>")]
pub struct Rules {
    all: Vec<Rule>,
    index: Option<Index>,
}

/// Places of rules in the list, each by one of its conditions, all of which must hold.
#[derive(Clone, Debug, Default)]
struct Index {
    /// By no condition that names one thing.
    others: Vec<usize>,
    by_path: Places,
    by_program: Places,
    by_command: Places,
    by_tool: Places,
    /// All that any of them looks at.
    fields: BTreeSet<Field>,
}

type Places = BTreeMap<String, Vec<usize>>;

impl Rules {
    /// Every rule that may match the call, in their order, and few that cannot.
    #[must_use]
    pub fn near(&self, subject: &Subject<'_>) -> Vec<&Rule> {
        let Some(index) = &self.index else { return self.all.iter().collect() };
        let mut places = index.others.clone();
        match &subject.paths {
            // What is not known may be anything.
            None => places.extend(index.by_path.values().flatten()),
            Some(paths) => {
                let above = paths.iter().flat_map(|path| above(path));
                places.extend(above.filter_map(|directory| index.by_path.get(directory)).flatten());
            }
        }
        let tool = subject.tool.as_ref().map(core::slice::from_ref);
        for (by, named) in [
            (&index.by_program, subject.programs.as_deref()),
            (&index.by_command, subject.commands.as_deref()),
            (&index.by_tool, tool),
        ] {
            match named {
                None => places.extend(by.values().flatten()),
                Some(named) => places.extend(named.iter().filter_map(|name| by.get(*name)).flatten()),
            }
        }
        places.sort_unstable();
        places.dedup();
        places.into_iter().filter_map(|place| self.all.get(place)).collect()
    }
}

impl Rules {
    /// Whether one of them looks at this.
    #[must_use]
    pub fn look_at(&self, field: Field) -> bool {
        match &self.index {
            Some(index) => index.fields.contains(&field),
            None => self.all.iter().any(|rule| rule.looks_at(field)),
        }
    }
}

/// A path, and all that it is under.
fn above(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').filter_map(|(at, _)| path.get(..at)).chain([path])
}

impl Index {
    fn of(rules: &[Rule]) -> Self {
        let mut index = Self::default();
        for (place, rule) in rules.iter().enumerate() {
            let Self { others, by_path, by_program, by_command, by_tool, fields } = &mut index;
            fields.extend(rule.fields());
            let named = |field| rule.when.get(&field)?.names();
            let path = match rule.when.get(&Field::Path) {
                Some(Test::Under(directory)) => Some(directory.strip_suffix('/').unwrap_or(directory)),
                Some(Test::Equal(path)) => Some(path.as_str()),
                Some(_) | None => None,
            };
            // Those of fewer calls before that of many.
            let by_name = [(by_program, Field::Program), (by_command, Field::Subcommand), (by_tool, Field::Tool)];
            let found = by_name.into_iter().find_map(|(by, field)| Some((by, named(field)?)));
            match (path, found) {
                (Some(path), _) => by_path.entry(path.into()).or_default().push(place),
                (None, Some((by, names))) => {
                    names.iter().for_each(|name| by.entry(name.clone()).or_default().push(place));
                }
                (None, None) => others.push(place),
            }
        }
        index
    }
}

impl From<Vec<Rule>> for Rules {
    fn from(all: Vec<Rule>) -> Self {
        let index = Some(Index::of(&all));
        Self { all, index }
    }
}

impl FromIterator<Rule> for Rules {
    fn from_iter<I: IntoIterator<Item = Rule>>(rules: I) -> Self {
        rules.into_iter().collect::<Vec<_>>().into()
    }
}

impl From<Rules> for Vec<Rule> {
    fn from(rules: Rules) -> Self {
        rules.all
    }
}

impl PartialEq for Rules {
    fn eq(&self, other: &Self) -> bool {
        self.all == other.all
    }
}

impl Eq for Rules {}

impl Deref for Rules {
    type Target = Vec<Rule>;

    fn deref(&self) -> &Vec<Rule> {
        &self.all
    }
}

impl DerefMut for Rules {
    fn deref_mut(&mut self) -> &mut Vec<Rule> {
        self.index = None;
        &mut self.all
    }
}
