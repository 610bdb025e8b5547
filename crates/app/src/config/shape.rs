//! What a key of the file can be: the words in which the table of keys is written.

#[derive(Debug)]
pub struct Key {
    pub name: &'static str,
    pub shape: Shape,
    pub doc: &'static str,
}

#[derive(Debug)]
pub enum Shape {
    Value {
        kind: Kind,
        need: Need,
        example: &'static str,
    },
    Table {
        keys: &'static [Key],
        presence: Presence,
    },
    /// Tables by a name that the operator chooses.
    Named {
        keys: &'static [Key],
        required: bool,
        names: Names,
    },
    /// `[[…]]`
    Rows {
        keys: &'static [Key],
        /// A text stands for a table with this key alone.
        bare: Option<&'static str>,
    },
    /// A required table, or the text `"free"`.
    FreeOr {
        keys: &'static [Key],
    },
}

/// Who has chosen the names of tables.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Names {
    /// The operator: they stand in records, URLs and metrics.
    Own,
    /// Whoever made what is named.
    Foreign,
}

/// What an absent table means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Presence {
    /// Its defaults.
    Filled,
    /// Nothing.
    Optional,
    /// A mistake.
    Required,
}

/// What a value is, how it is written and what bounds it.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Text,
    /// Not empty.
    Name,
    Names,
    /// A text stands for a list of it alone.
    OneOrNames,
    /// Each may be empty.
    Texts,
    Choice(&'static [&'static str]),
    /// A text stands for a list of it alone.
    Choices(&'static [&'static str]),
    Flag,
    Count {
        min: u64,
        max: u64,
    },
    /// Decimal USD with at most six places.
    Usd,
    /// A count, or a text that is an amount.
    Most {
        max: u64,
    },
    Duration,
    Address,
    IpAddresses,
    Url,
    /// Name of an environment variable.
    Variable,
    Path,
    Paths,
    /// A moment with its offset from UTC, as milliseconds.
    Moment,
    Condition(On),
}

/// What a condition is about, and so which operators it knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum On {
    Words,
    Paths,
    Hosts,
    /// A text of segments between slashes.
    Segments,
    Number,
    Amount,
    /// Texts that stand in a form of their own.
    Values,
    Flag,
    Clock,
    Weekday,
}

#[derive(Clone, Copy, Debug)]
pub enum Need {
    Required,
    /// As it would stand in the file.
    Default(&'static str),
    /// What an absent key means, in words.
    Optional(&'static str),
}

pub const fn value(name: &'static str, kind: Kind, need: Need, example: &'static str, doc: &'static str) -> Key {
    Key { name, shape: Shape::Value { kind, need, example }, doc }
}

pub const fn table(name: &'static str, keys: &'static [Key], doc: &'static str) -> Key {
    Key { name, shape: Shape::Table { keys, presence: Presence::Filled }, doc }
}

pub const fn optional_table(name: &'static str, keys: &'static [Key], doc: &'static str) -> Key {
    Key { name, shape: Shape::Table { keys, presence: Presence::Optional }, doc }
}

pub const fn named(name: &'static str, keys: &'static [Key], required: bool, doc: &'static str) -> Key {
    Key { name, shape: Shape::Named { keys, required, names: Names::Own }, doc }
}

pub const fn foreign(name: &'static str, keys: &'static [Key], doc: &'static str) -> Key {
    Key { name, shape: Shape::Named { keys, required: false, names: Names::Foreign }, doc }
}

pub const fn rows(name: &'static str, keys: &'static [Key], doc: &'static str) -> Key {
    Key { name, shape: Shape::Rows { keys, bare: None }, doc }
}

pub const fn count(max: u64) -> Kind {
    Kind::Count { min: 1, max }
}
