//! MessageForms, the purpose of each, and releases that accept and emit some of them.

use std::fmt;

use rexi_proto::{FunctionRow, Release};
use serde::{Deserialize, Serialize};

use crate::path::UpgradePath;

/// A change of the protocol: what may be said, and what each release accepts and emits of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProtocolChange {
    /// Its name.
    pub name: String,
    /// What it is for, in a sentence.
    pub about: String,
    /// What may be said. At most [`FORMS_MAX`].
    pub forms: Vec<MessageForm>,
    /// The releases, oldest first. At least one, at most [`RELEASES_MAX`].
    pub releases: Vec<Behaviour>,
}

/// One way to say something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageForm {
    /// As reports name it: "cast to the singleton".
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// What of the receiver takes it: a job that was started there can be reached only there. Named by a word, such as
    /// `singleton`.
    pub server: String,
    /// What becomes of it at a receiver that does not accept it.
    pub unknown: Unknown,
}

/// What a form is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// It starts a job: exactly one must be accepted.
    Start,
    /// It ends a job, and says nothing: the one that is accepted where the job runs must arrive.
    End,
    /// It answers: the caller must accept it.
    Answer,
}

/// What becomes of a form at a receiver that does not accept it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unknown {
    /// It does no harm: a kill to a server that is not there.
    Ignored,
    /// It cannot be read, and is a breach wherever it arrives.
    #[default]
    Breach,
}

/// A set of forms, by their places in [`ProtocolChange::forms`].
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageForms(pub(super) u32);

/// What the nodes of one release do.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Behaviour {
    /// The release.
    pub name: String,
    /// What they understand.
    pub accepts: MessageForms,
    /// What they say, whenever they have a reason to: all of these.
    pub emits: MessageForms,
    /// Whether what ends a job also goes to the server where it was started, whatever `emits` says by then.
    pub remembers: bool,
}

/// MessageForms of one migration.
pub const FORMS_MAX: usize = 32;

/// Releases of one migration.
pub const RELEASES_MAX: usize = 16;

impl MessageForms {
    /// No form.
    pub const NONE: Self = Self(0);

    /// The form at this place alone.
    ///
    /// # Panics
    /// Where the place is [`FORMS_MAX`] or above: the caller's fault.
    pub fn of(place: usize) -> Self {
        assert!(place < FORMS_MAX, "a migration has at most {FORMS_MAX} forms");
        Self(1 << place)
    }

    /// Whether the form at this place is in the set.
    pub fn contains(self, place: usize) -> bool {
        place < FORMS_MAX && self.0 & (1 << place) != 0
    }

    /// Both sets together.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// This set without the other.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The places in the set, lowest first.
    pub fn iter(self) -> impl Iterator<Item = usize> {
        (0..FORMS_MAX).filter(move |&place| self.contains(place))
    }

    /// Whether no form is in it.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl FromIterator<usize> for MessageForms {
    fn from_iter<I: IntoIterator<Item = usize>>(places: I) -> Self {
        places.into_iter().fold(Self::NONE, |forms, place| forms.with(Self::of(place)))
    }
}

impl fmt::Debug for MessageForms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// Of what each release does, the last before the first change, which is the one that is met, and each that changes
/// something.
pub(super) fn changes<T>(all: impl IntoIterator<Item = T>, is_alike: impl Fn(&T, &T) -> bool) -> Vec<T> {
    let mut changes: Vec<T> = Vec::new();
    for next in all {
        match &mut changes[..] {
            [only] if is_alike(only, &next) => *only = next,
            [.., last] if is_alike(last, &next) => {}
            _ => changes.push(next),
        }
    }
    changes
}

impl ProtocolChange {
    /// The forms of a role.
    pub fn of_role(&self, role: Role) -> MessageForms {
        self.forms.iter().enumerate().filter(|(_, form)| form.role == role).map(|(place, _)| place).collect()
    }

    /// What a release says in a role.
    pub fn emitted(&self, release: usize, role: Role) -> MessageForms {
        let emits = self.releases[release].emits;
        emits.without(emits.without(self.of_role(role)))
    }

    /// Names of forms, joined as a sentence has them: "a, b and c"; "nothing" for none.
    pub fn names(&self, forms: MessageForms) -> String {
        let names: Vec<&str> = forms.iter().map(|place| self.forms[place].name.as_str()).collect();
        match names.as_slice() {
            [] => "nothing".to_owned(),
            [one] => (*one).to_owned(),
            [first @ .., last] => format!("{} and {last}", first.join(", ")),
        }
    }

    /// What a release does, in a line.
    pub fn behaviour(&self, of: &Behaviour) -> String {
        let memory = if of.remembers { "; also kills where it cast" } else { "" };
        format!("{}: understands {}; says {}{memory}", of.name, self.names(of.accepts), self.names(of.emits))
    }

    /// The change of one function of a service along its train. Functions that take each other's place are given
    /// together, oldest first: a release asks for the newest that it may ask for.
    ///
    /// # Panics
    /// Where there are more functions or changes than a migration holds ([`FORMS_MAX`], [`RELEASES_MAX`]).
    pub fn of_functions(name: &str, rows: &[FunctionRow], train: &UpgradePath) -> Self {
        let form = |row: &FunctionRow| MessageForm {
            name: format!("call of {}", row.name),
            role: Role::Start,
            server: row.name.to_string(),
            unknown: Unknown::Breach,
        };
        let behaviour = |release: Release| {
            let accepts = (0..rows.len()).filter(|&row| rows[row].accepted(release)).collect();
            let newest = (0..rows.len()).rev().find(|&row| rows[row].emitted(release));
            Behaviour { name: release.to_string(), accepts, emits: newest.into_iter().collect(), remembers: true }
        };
        let all = (0..train.len()).map(|number| behaviour(train.at(number).stop()));
        let releases = changes(all, |one, other| (one.accepts, one.emits) == (other.accepts, other.emits));
        assert!(releases.len() <= RELEASES_MAX, "a migration has at most {RELEASES_MAX} releases");
        Self {
            name: name.to_owned(),
            about: "functions of a service come and go".to_owned(),
            forms: rows.iter().map(form).collect(),
            releases,
        }
    }
}
