//! The lock: what every frame of every wire version, the hello and a service's functions are built of, as a file.
//!
//! In: the layouts of this build, read through serde. Out: a text that is the same for the same layouts and readable in
//! a review. It holds the structure itself and not a hash of it: two schemas never share a lock.

use std::collections::BTreeMap;
use std::path::Path;

use rexi_proto::{Kind, LayoutVisitor, ROWS, WIRE_VERSIONS, emitted};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use thiserror::Error;

use super::functions::FunctionLock;
use super::schema::{Layout, Type};
use super::tracer::{TraceError, trace};
use super::train::TrainLock;

/// Version of the lock's own format. Raised where a field changes its meaning or goes.
pub const LOCK_FORMAT_VERSION: u32 = 1;

/// Bytes of the longest lock that is read. A lock of all that is here has some 20 KiB.
pub const LOCK_BYTES_MAX: u64 = 16 << 20;

/// All schemas of a build.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    /// [`LOCK_FORMAT_VERSION`].
    pub format_version: u32,
    /// The hello, which has no version; none in the lock of a service's functions alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hello: Option<Layout>,
    /// The rows of `compat.rs`, by the kind's number.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rows: BTreeMap<u8, RowLock>,
    /// By wire version, as `v1`, and the kind's number: the frames that a node accepts in it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub versions: BTreeMap<String, BTreeMap<u8, FrameLock>>,
    /// A service's train; none in rexi's own lock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train: Option<TrainLock>,
    /// A service's functions, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub functions: BTreeMap<String, FunctionLock>,
}

/// A message's life, in wire versions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RowLock {
    /// The message.
    pub kind: String,
    /// The first version in which a node understands it.
    pub accepted_since: u16,
    /// The first version in which a node may send it; none sends it yet where there is none.
    pub emitted_since: Option<u16>,
    /// The first version without it.
    pub retired_in: Option<u16>,
}

/// A frame of one version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrameLock {
    /// The message.
    pub kind: String,
    /// Whether a node may send it in this version.
    pub emitted: bool,
    /// What it is built of.
    pub layout: Layout,
}

/// Why there is no lock. Nothing was changed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LockError {
    /// The file cannot be read. The caller is at fault, or the disk.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// The file.
        path: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file is not a lock. The caller is at fault.
    #[error("{path} is not a lock: {reason}")]
    Malformed {
        /// The file.
        path: String,
        /// Where it stops being one.
        reason: String,
    },
    /// The file is a lock of another format. Use the rexi-migrate that wrote it, or write it again.
    #[error(
        "{path} has the lock format {found}, this rexi-migrate reads {LOCK_FORMAT_VERSION}; {}",
        if *found > LOCK_FORMAT_VERSION.into() { "a newer one wrote it: use that" } else { "write it again" }
    )]
    OtherFormat {
        /// The file.
        path: String,
        /// Its format.
        found: u64,
    },
    /// A schema of this build cannot be told. The author of the type is at fault.
    #[error(transparent)]
    NoSchema(#[from] TraceError),
}

impl Lock {
    /// A lock of nothing.
    pub fn empty() -> Self {
        let (rows, versions, functions) = Default::default();
        Self { format_version: LOCK_FORMAT_VERSION, hello: None, rows, versions, train: None, functions }
    }

    /// The lock of the wire that this build speaks, without functions.
    ///
    /// # Errors
    /// [`LockError::NoSchema`].
    pub fn of_this_build() -> Result<Self, LockError> {
        let mut lock = Self::empty();
        for row in ROWS {
            let life = RowLock {
                kind: format!("{:?}", row.kind),
                accepted_since: row.accepted_since.0,
                emitted_since: row.emitted_since.map(|version| version.0),
                retired_in: row.retired_in.map(|version| version.0),
            };
            lock.rows.insert(row.kind as u8, life);
        }
        let mut hello = Frames::default();
        rexi_proto::show_hello(&mut hello);
        lock.hello = hello.layouts()?.pop().map(|(_, layout)| layout);
        for version in WIRE_VERSIONS {
            let mut frames = Frames::default();
            rexi_proto::show_layouts(version, &mut frames);
            let frames = frames.layouts()?.into_iter().map(|(kind, layout)| {
                let frame = FrameLock { kind: format!("{kind:?}"), emitted: emitted(kind, version), layout };
                (kind as u8, frame)
            });
            lock.versions.insert(version.to_string(), frames.collect());
        }
        Ok(lock)
    }

    /// Reads a lock from a file.
    ///
    /// # Errors
    /// [`LockError`] where there is none, or none that this build understands.
    pub fn read(path: &Path) -> Result<Self, LockError> {
        let name = path.display().to_string();
        let unreadable = |source| LockError::Unreadable { path: name.clone(), source };
        let bytes = std::fs::metadata(path).map_err(unreadable)?.len();
        if bytes > LOCK_BYTES_MAX {
            let reason = format!("it has {bytes} bytes, {LOCK_BYTES_MAX} are allowed");
            return Err(LockError::Malformed { path: name, reason });
        }
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        Self::parse(&name, &text)
    }

    /// Reads a lock from a text; `path` is what errors call it.
    ///
    /// # Errors
    /// As [`Lock::read`].
    pub fn parse(path: &str, text: &str) -> Result<Self, LockError> {
        let malformed = |reason: String| LockError::Malformed { path: path.to_owned(), reason };
        let json: Json = serde_json::from_str(text).map_err(|error| malformed(error.to_string()))?;
        let found = json.get("format_version").and_then(Json::as_u64);
        let found = found.ok_or_else(|| malformed("it has no format_version".to_owned()))?;
        if found != u64::from(LOCK_FORMAT_VERSION) {
            return Err(LockError::OtherFormat { path: path.to_owned(), found });
        }
        let lock: Self = serde_json::from_str(text).map_err(|error| malformed(error.to_string()))?;
        lock.check_references().map_err(malformed)?;
        Ok(lock)
    }

    /// The lock as text, with a line's end.
    ///
    /// # Panics
    /// Never: a lock is plain data.
    pub fn to_text(&self) -> String {
        let json = serde_json::to_value(self).expect("a lock is plain data");
        let mut text = String::new();
        write(&json, 0, &mut text);
        text.push('\n');
        text
    }

    /// How many schemas it holds.
    pub fn schemas(&self) -> usize {
        let functions: usize = self.functions.values().map(|function| function.roots().len()).sum();
        usize::from(self.hello.is_some()) + self.versions.values().map(BTreeMap::len).sum::<usize>() + functions
    }

    /// Makes sure that a type refers only to what it is inside of: code that follows a reference relies on it.
    fn check_references(&self) -> Result<(), String> {
        let frames = self.versions.values().flat_map(BTreeMap::values).map(|frame| &frame.layout);
        let roots: Vec<_> = self.functions.values().flat_map(FunctionLock::roots).map(|(_, layout)| layout).collect();
        frames.chain(&self.hello).chain(&roots).try_for_each(Layout::check_references)
    }
}

impl Layout {
    /// Makes sure that a type refers only to what it is inside of.
    pub(super) fn check_references(&self) -> Result<(), String> {
        self.headers.iter().try_for_each(|header| check(header, &mut Vec::new()))
    }
}

fn check<'a>(r#type: &'a Type, inside: &mut Vec<&'a str>) -> Result<(), String> {
    if inside.len() > NESTING_MAX {
        return Err(format!("a type is nested more than {NESTING_MAX} deep"));
    }
    let (name, parts): (&str, Vec<&Type>) = match r#type {
        Type::Recursive(name) if !inside.contains(&name.as_str()) => {
            return Err(format!("a type refers to {name:?}, which it is not inside of"));
        }
        Type::Option(inner) | Type::Seq(inner) => ("", vec![inner]),
        Type::Map(key, value) => ("", vec![key, value]),
        Type::Tuple(parts) => ("", parts.iter().collect()),
        Type::Struct(named) => (&named.name, named.parts.types()),
        Type::Enum(of) => (&of.name, of.variants.iter().flat_map(|variant| variant.parts.types()).collect()),
        _ => return Ok(()),
    };
    inside.push(name);
    parts.into_iter().try_for_each(|part| check(part, inside))?;
    inside.pop();
    Ok(())
}

/// How deeply a type in a lock may be nested.
const NESTING_MAX: usize = 64;

/// Takes the layouts of the core as they are shown.
#[derive(Default)]
struct Frames {
    frames: Vec<(Kind, Layout)>,
    failed: Option<TraceError>,
}

impl Frames {
    fn of(&mut self, kind: Kind) -> &mut Layout {
        if self.frames.last().is_none_or(|(last, _)| *last != kind) {
            self.frames.push((kind, Layout { headers: Vec::new(), payload: false }));
        }
        let (_, layout) = self.frames.last_mut().expect("one was just pushed");
        layout
    }

    fn layouts(self) -> Result<Vec<(Kind, Layout)>, TraceError> {
        self.failed.map_or(Ok(self.frames), Err)
    }
}

impl LayoutVisitor for Frames {
    fn header<T: Serialize + Deserialize<'static>>(&mut self, kind: Kind) {
        match trace::<T>() {
            Ok(header) => self.of(kind).headers.push(header),
            Err(error) => self.failed = Some(error),
        }
    }

    fn payload(&mut self, kind: Kind) {
        self.of(kind).payload = true;
    }
}

/// Writes JSON so that what fits on a line stands on one.
fn write(json: &Json, indent: usize, out: &mut String) {
    let short = json.to_string();
    let items: Vec<(Option<&str>, &Json)> = match json {
        Json::Array(items) => items.iter().map(|item| (None, item)).collect(),
        Json::Object(fields) => fields.iter().map(|(name, field)| (Some(name.as_str()), field)).collect(),
        _ => Vec::new(),
    };
    if items.is_empty() || indent > 0 && indent + short.len() <= COLUMNS {
        out.push_str(&short);
        return;
    }
    let (open, close) = if json.is_array() { ('[', ']') } else { ('{', '}') };
    out.push(open);
    for (i, (name, item)) in items.into_iter().enumerate() {
        out.push_str(if i > 0 { ",\n" } else { "\n" });
        out.extend(std::iter::repeat_n(' ', indent + 2));
        if let Some(name) = name {
            out.push_str(&Json::from(name).to_string());
            out.push_str(": ");
        }
        write(item, indent + 2, out);
    }
    out.push('\n');
    out.extend(std::iter::repeat_n(' ', indent));
    out.push(close);
}

/// Columns of the lock's text.
const COLUMNS: usize = 110;
