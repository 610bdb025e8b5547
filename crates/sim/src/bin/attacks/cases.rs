//! What is run: the rows of both corpora, and a sample of what is made from them.
use backstay_sim::dice::Dice;

use crate::range::Tier;
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

    /// Whether it is to read at the host that is granted.
    pub fn reads_elsewhere(&self) -> bool {
        self.kind == Kind::Benign && self.group == "network"
    }

    pub fn named(name: &str, sample: Sample) -> Option<Self> {
        all(sample).into_iter().find(|case| case.name() == name)
    }
}

/// What is run, and in which tier; of the mutations all others are only read, by the tests of the shell's reader.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sample {
    pub seed: u64,
    pub mutations: usize,
    pub tier: Tier,
    /// Of so many rows one.
    pub every: usize,
}

impl Sample {
    /// Of CI; another is drawn by another seed.
    pub const CI: Self = Self { seed: 1, mutations: 300, tier: Tier::Full, every: 1 };

    /// By which another process of this program is told of it.
    pub fn word(self) -> String {
        format!("{}:{}:{}:{}", self.seed, self.mutations, self.tier.word(), self.every)
    }

    pub fn read(word: &str) -> Option<Self> {
        let mut words = word.split(':');
        Some(Self {
            seed: words.next()?.parse().ok()?,
            mutations: words.next()?.parse().ok()?,
            tier: Tier::named(words.next()?)?,
            every: words.next()?.parse().ok()?,
        })
    }
}

pub fn all(sample: Sample) -> Vec<Case> {
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
    let mut dice = Dice::new(sample.seed);
    let mutations = (0..sample.mutations).map(|id| {
        let from = &attacks[dice.place(attacks.len())];
        let command = dress::mutate(&from.command, &mut |bound| dice.place(bound));
        Case { kind: Kind::Mutation, id, command, ..from.clone() }
    });
    let mutations: Vec<Case> = mutations.collect();
    // Commands on copies have no network to read from.
    let is_tried = |case: &Case| sample.tier == Tier::Full || !case.reads_elsewhere();
    let benign = of(Kind::Benign, rows::benign()).into_iter().filter(is_tried).collect();
    let all = [attacks, benign, mutations].concat();
    all.into_iter().step_by(sample.every).collect()
}
