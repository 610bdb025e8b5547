//! What is run: the rows of both corpora, and a sample of what is made from them.
use backstay_sim::dice::Dice;

use crate::{dress, rows};

#[derive(Clone)]
pub struct Case {
    pub kind: Kind,
    pub id: usize,
    pub group: String,
    /// What the reader is to say of it.
    pub expected: String,
    pub command: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Attack,
    Benign,
    /// An attack in another dress.
    Mutation,
}

impl Case {
    /// By which another process of this program finds it again.
    pub fn name(&self) -> String {
        format!("{:?}:{}", self.kind, self.id)
    }

    pub fn named(name: &str, seed: u64) -> Option<Self> {
        all(seed).into_iter().find(|case| case.name() == name)
    }
}

/// Mutations that are run; all others are only read, by the tests of the shell's reader.
pub const MUTATIONS: usize = 300;

pub fn all(seed: u64) -> Vec<Case> {
    let of = |kind: Kind, rows: Vec<rows::Row>| {
        let case = move |(id, row): (usize, rows::Row)| Case {
            kind,
            id,
            group: row.group,
            expected: row.expected,
            command: row.command,
        };
        rows.into_iter().enumerate().map(case).collect::<Vec<_>>()
    };
    let attacks = of(Kind::Attack, rows::attacks());
    let mut dice = Dice::new(seed);
    let mutations = (0..MUTATIONS).map(|id| {
        let from = &attacks[dice.place(attacks.len())];
        let command = dress::mutate(&from.command, &mut |bound| dice.place(bound));
        Case { kind: Kind::Mutation, id, command, ..from.clone() }
    });
    let mutations: Vec<Case> = mutations.collect();
    [attacks, of(Kind::Benign, rows::benign()), mutations].concat()
}
