//! The TOML text of a configuration: which keys there are, and values with their places.
//!
//! In go the text and what the environment overrides; out come [`Given`] values, each still a string, once all keys
//! are known ones.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use rexi_proto::{Migration, NodeName, Phase, Profile, Stage, Train};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{ConfigError, ConfigPlace};
use super::keys::{CONFIG_KEYS, holds_names, keys_of, tables};
use crate::follow::{Ceilings, PeerAddress};

/// A parsed text that has no unknown key.
pub(super) struct Document<'a> {
    source: Source<'a>,
    root: DeTable<'a>,
    /// Variables of the environment that were set, by name.
    overrides: &'a BTreeMap<String, String>,
}

/// A value as somebody wrote it.
pub(super) struct Given {
    /// With its table.
    pub(super) key: String,
    pub(super) value: String,
    pub(super) place: ConfigPlace,
}

struct Source<'a> {
    text: &'a str,
    origin: &'a str,
}

impl<'a> Document<'a> {
    pub(super) fn parse(
        text: &'a str,
        origin: &'a str,
        overrides: &'a BTreeMap<String, String>,
    ) -> Result<Self, ConfigError> {
        let source = Source { text, origin };
        let root = DeTable::parse(text).map_err(|error| ConfigError::Syntax {
            place: source.place(error.span()),
            // The parser's words may take two lines; an error of ours is one.
            reason: error.message().replace('\n', "; "),
        })?;
        let document = Self { source, root: root.into_inner(), overrides };
        document.refuse_unknown_keys()?;
        Ok(document)
    }

    /// Whether the table, which may be empty, is there, or one of its keys in the environment.
    pub(super) fn has_table(&self, table: &str) -> bool {
        let mut of_table = CONFIG_KEYS.iter().filter(|known| known.table == table);
        self.root.contains_key(table) || of_table.any(|known| self.overrides.contains_key(&known.variable()))
    }

    /// The string at `key` of `table`; the table `""` is the root.
    pub(super) fn string(&self, table: &'static str, key: &str) -> Result<Option<Given>, ConfigError> {
        if let Some(given) = self.overriding(table, key) {
            return Ok(Some(given));
        }
        let Some(value) = self.table(table)?.and_then(|entries| entries.get(key)) else { return Ok(None) };
        self.given(dotted(table, key), value, "a string in quotes").map(Some)
    }

    /// The whole number at `key` of `table`, as its text.
    pub(super) fn number(&self, table: &'static str, key: &str) -> Result<Option<Given>, ConfigError> {
        if let Some(given) = self.overriding(table, key) {
            return Ok(Some(given));
        }
        let Some(value) = self.table(table)?.and_then(|entries| entries.get(key)) else { return Ok(None) };
        match value.get_ref().as_integer() {
            Some(number) if number.radix() == 10 => {
                let (value, place) = (number.as_str().to_owned(), self.source.place(Some(value.span())));
                Ok(Some(Given { key: dotted(table, key), value, place }))
            }
            _ => Err(self.wrong_type(dotted(table, key), value, "a whole number in decimal digits, without quotes")),
        }
    }

    /// What the environment has for the key.
    fn overriding(&self, table: &str, key: &str) -> Option<Given> {
        let known = CONFIG_KEYS.iter().find(|known| known.table == table && known.key == key)?;
        let key = known.variable();
        let value = self.overrides.get(&key)?.clone();
        Some(Given { key, value, place: environment() })
    }

    /// As [`Document::string`], but refuses its absence and says what is `wanted`.
    pub(super) fn required(&self, table: &'static str, key: &str, wanted: &'static str) -> Result<Given, ConfigError> {
        let missing = || {
            let place = self.source.place(self.root.get(table).map(Spanned::span));
            ConfigError::MissingKey { place, key: dotted(table, key), wanted }
        };
        self.string(table, key)?.ok_or_else(missing)
    }

    /// Names and values of a table whose keys are names, in the order of the text.
    pub(super) fn by_name(&self, of: &'static str, wanted: &'static str) -> Result<Vec<(Given, Given)>, ConfigError> {
        if let Some(given) = self.overriding(of, "<name>") {
            return given.by_name(wanted);
        }
        let Some(table) = self.table(of)? else { return Ok(Vec::new()) };
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(name, _)| name.span().start);
        let entry = |(name, value): (&Spanned<_>, _)| {
            let text: &str = AsRef::<str>::as_ref(name.get_ref());
            let key = dotted(of, text);
            let value = self.given(key.clone(), value, wanted)?;
            Ok((Given { key, value: text.to_owned(), place: self.source.place(Some(name.span())) }, value))
        };
        entries.into_iter().map(entry).collect()
    }

    fn refuse_unknown_keys(&self) -> Result<(), ConfigError> {
        for table in tables().into_iter().filter(|table| !holds_names(table)) {
            let allowed = keys_of(table);
            let Some(entries) = self.table(table)? else { continue };
            let unknown = entries.keys().filter(|key| !allowed.contains(&AsRef::<str>::as_ref(key.get_ref())));
            if let Some(key) = unknown.min_by_key(|key| key.span().start) {
                return Err(ConfigError::UnknownKey {
                    place: self.source.place(Some(key.span())),
                    key: dotted(table, key.get_ref()),
                    nearest: nearest_key(table, &shown(key.get_ref())),
                    allowed,
                });
            }
        }
        Ok(())
    }

    fn table(&self, table: &'static str) -> Result<Option<&DeTable<'a>>, ConfigError> {
        if table.is_empty() {
            return Ok(Some(&self.root));
        }
        let Some(value) = self.root.get(table) else { return Ok(None) };
        match value.get_ref().as_table() {
            Some(entries) => Ok(Some(entries)),
            None => Err(self.wrong_type(table.to_owned(), value, "a table")),
        }
    }

    fn given(&self, key: String, value: &Spanned<DeValue<'_>>, wanted: &'static str) -> Result<Given, ConfigError> {
        match value.get_ref().as_str() {
            Some(text) => Ok(Given { key, value: text.to_owned(), place: self.source.place(Some(value.span())) }),
            None => Err(self.wrong_type(key, value, wanted)),
        }
    }

    fn wrong_type(&self, key: String, value: &Spanned<DeValue<'_>>, wanted: &'static str) -> ConfigError {
        let place = self.source.place(Some(value.span()));
        ConfigError::WrongType { place, key, wanted, found: value.get_ref().type_str() }
    }
}

impl Given {
    /// Names and values of a list such as `n1=127.0.0.1:4001,n2=127.0.0.1:4002`.
    fn by_name(&self, wanted: &'static str) -> Result<Vec<(Self, Self)>, ConfigError> {
        let entries = self.value.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        let part = |value: &str| Self { key: self.key.clone(), value: value.to_owned(), place: self.place.clone() };
        let pair = |entry: &str| match entry.split_once('=') {
            Some((name, value)) => Ok((part(name.trim()), part(value.trim()))),
            None => {
                let (place, key, value) = (self.place.clone(), self.key.clone(), shown(entry));
                Err(ConfigError::BadList { place, key, value, wanted })
            }
        };
        let pairs: Vec<(Self, Self)> = entries.map(pair).collect::<Result<_, ConfigError>>()?;
        let (place, key) = (self.place.clone(), self.key.clone());
        // The table of the file would be gone without a word, and the node be a cluster of one.
        if pairs.is_empty() {
            return Err(ConfigError::EmptyList { place, key });
        }
        let mut names = BTreeSet::new();
        match pairs.iter().find(|(name, _)| !names.insert(&name.value)) {
            Some((twice, _)) => Err(ConfigError::NamedTwice { place, key, name: shown(&twice.value) }),
            None => Ok(pairs),
        }
    }

    /// A whole number that the key's type holds.
    pub(super) fn whole<T: TryFrom<u64>>(&self) -> Result<T, ConfigError> {
        // TOML lets digits be grouped.
        let number = self.value.replace('_', "").parse::<u64>().ok().and_then(|number| T::try_from(number).ok());
        number.ok_or_else(|| ConfigError::BadNumber {
            place: self.place.clone(),
            key: self.key.clone(),
            value: shown(&self.value),
        })
    }

    /// Words with blanks between.
    pub(super) fn words(&self) -> Vec<String> {
        self.value.split_whitespace().map(str::to_owned).collect()
    }

    /// A time in whole milliseconds.
    pub(super) fn millis(&self) -> Result<Duration, ConfigError> {
        self.whole().map(Duration::from_millis)
    }

    pub(super) fn node_name(&self) -> Result<NodeName, ConfigError> {
        NodeName::new(&self.value).map_err(|reason| ConfigError::BadName {
            place: self.place.clone(),
            key: shown(&self.key),
            reason,
        })
    }

    pub(super) fn address(&self) -> Result<SocketAddr, ConfigError> {
        self.value.parse().map_err(|_| ConfigError::BadAddress {
            place: self.place.clone(),
            key: shown(&self.key),
            value: shown(&self.value),
        })
    }

    /// Where another node is.
    pub(super) fn peer_address(&self) -> Result<PeerAddress, ConfigError> {
        self.value.parse().map_err(|reason| ConfigError::BadPeerAddress {
            place: self.place.clone(),
            key: shown(&self.key),
            value: shown(&self.value),
            reason,
        })
    }

    /// The profile of the train that this names.
    pub(super) fn profile(&self, train: &Train) -> Result<Profile, ConfigError> {
        train.profile(&self.value).map_err(|reason| ConfigError::Release {
            place: self.place.clone(),
            key: self.key.clone(),
            reason: Box::new(reason),
        })
    }

    /// Which of these words it is, by its place.
    pub(super) fn word<const N: usize>(&self, words: [&'static str; N]) -> Result<usize, ConfigError> {
        words.iter().position(|word| *word == self.value).ok_or_else(|| {
            let (place, key, value) = (self.place.clone(), self.key.clone(), shown(&self.value));
            ConfigError::BadWord { place, key, value, words: words.to_vec() }
        })
    }

    pub(super) fn cluster(&self) -> Result<String, ConfigError> {
        let (place, key, value) = (self.place.clone(), self.key.clone(), shown(&self.value));
        if Train::is_name(&self.value) {
            Ok(self.value.clone())
        } else {
            Err(ConfigError::BadCluster { place, key, value })
        }
    }

    /// Phases that `profile` allows.
    pub(super) fn ceilings(&self, profile: &Profile) -> Result<Ceilings, ConfigError> {
        let (place, key, value) = (self.place.clone(), self.key.clone(), shown(&self.value));
        let ceilings: Ceilings = match self.value.parse() {
            Ok(ceilings) => ceilings,
            Err(reason) => {
                let profile = Box::new(profile.clone());
                return Err(ConfigError::BadCeilings { place, key, reason, profile });
            }
        };
        let said = match ceilings.of(profile) {
            Ok(said) => said,
            Err(reason) => return Err(ConfigError::ImpossibleCeilings { place, key, value, reason: Box::new(reason) }),
        };
        let allowed =
            |((_, stage), phase): &((&Migration, Stage), Option<Phase>)| phase.is_none_or(|phase| stage.allows(phase));
        match profile.migrations().zip(said).find(|said| !allowed(said)) {
            None => Ok(ceilings),
            Some(_) => {
                let profile = Box::new(profile.clone());
                Err(ConfigError::ImpossiblePhase { place, key, value, profile })
            }
        }
    }
}

impl Source<'_> {
    fn place(&self, span: Option<Range<usize>>) -> ConfigPlace {
        let line = span.map(|span| {
            let before = &self.text.as_bytes()[..span.start.min(self.text.len())];
            before.iter().filter(|&&byte| byte == b'\n').count() + 1
        });
        ConfigPlace { origin: self.origin.to_owned(), line }
    }
}

/// The key of the table that differs from `key` in the fewest letters; or one of another table, where `key` is that one
/// but for a letter, so was put into the wrong table.
fn nearest_key(table: &str, key: &str) -> String {
    let known = tables().into_iter().flat_map(|of| keys_of(of).into_iter().map(move |known| (of, known)));
    let known = known.filter(|&(of, _)| !holds_names(of));
    let differing = known.map(|(of, known)| (strsim::damerau_levenshtein(key, known), of, known));
    let nearest =
        differing.filter(|&(letters, of, _)| of == table || letters <= 1).min_by_key(|&(letters, ..)| letters);
    nearest.map(|(_, of, known)| dotted(of, known)).expect("each table has known keys")
}

pub(super) fn environment() -> ConfigPlace {
    ConfigPlace { origin: "environment".to_owned(), line: None }
}

fn dotted(table: &str, key: &str) -> String {
    if table.is_empty() { shown(key) } else { format!("{table}.{}", shown(key)) }
}

/// What an error repeats of a text that somebody wrote.
fn shown(text: &str) -> String {
    const CHARS_MAX: usize = 80;
    match text.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
