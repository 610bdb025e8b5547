//! The rules of one agent, found by the call: of many rules that speak of a tool or of a place each, a call looks
//! at those alone that speak of its own.
use alloc::collections::BTreeMap;
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
    by_path: BTreeMap<String, Vec<usize>>,
    by_tool: BTreeMap<String, Vec<usize>>,
}

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
        match subject.tool {
            None => places.extend(index.by_tool.values().flatten()),
            Some(tool) => places.extend(index.by_tool.get(tool).into_iter().flatten()),
        }
        places.sort_unstable();
        places.dedup();
        places.into_iter().filter_map(|place| self.all.get(place)).collect()
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
            let Self { others, by_path, by_tool } = &mut index;
            match (rule.when.get(&Field::Path), rule.when.get(&Field::Tool)) {
                (Some(Test::Under(directory)), _) => {
                    let directory = directory.strip_suffix('/').unwrap_or(directory);
                    by_path.entry(directory.into()).or_default().push(place);
                }
                (Some(Test::Equal(path)), _) => by_path.entry(path.clone()).or_default().push(place),
                (_, Some(Test::Equal(tool))) => by_tool.entry(tool.clone()).or_default().push(place),
                (_, Some(Test::AnyOf(tools))) => {
                    tools.iter().for_each(|tool| by_tool.entry(tool.clone()).or_default().push(place));
                }
                (_, _) => others.push(place),
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
