//! For each way to break an invariant, a migration that breaks it in that way, by its shortest trace: what the search
//! no longer looks for is noticed here.

use super::super::mix::Broken;
use super::*;

/// Declares the migration of each way, once. A way without one does not compile.
macro_rules! planted {
    ($($kind:ident { $($field:ident: $value:expr),* } => $migration:expr,)+) => {
        fn planted() -> Vec<(Broken, ProtocolChange)> {
            vec![$((Broken::$kind { $($field: $value),* }, $migration),)+]
        }

        const fn name(broken: Broken) -> &'static str {
            match broken { $(Broken::$kind { .. } => stringify!($kind),)+ }
        }
    };
}

planted! {
    CastRefused { form: 0, release: 1 } => {
        let mut migration = migration(&[(Role::Start, "a")], &[0], &[0]);
        let none = MessageForms::NONE;
        let gone = Behaviour { name: "2".to_owned(), accepts: none, emits: none, remembers: false };
        migration.releases.push(gone);
        migration
    },
    NobodyTookTheCast {} => {
        let mut migration = migration(&[(Role::Start, "a")], &[], &[0]);
        migration.forms[0].unknown = Unknown::Ignored;
        migration
    },
    RanTwice { form: 1 } => migration(&[(Role::Start, "a"), (Role::Start, "b")], &[0, 1], &[0, 1]),
    Unread { form: 1, release: 0 } => migration(&[(Role::Start, "a"), (Role::End, "a")], &[0], &[0, 1]),
    KillMissed {} => migration(&[(Role::Start, "a"), (Role::End, "b")], &[0, 1], &[0, 1]),
    NothingAnswered { release: 0 } => migration(&[(Role::Start, "a"), (Role::Answer, "a")], &[0, 1], &[0]),
    AnswerUnread { form: 1, release: 0 } => migration(&[(Role::Start, "a"), (Role::Answer, "a")], &[0], &[0, 1]),
    AnsweredTwice { form: 2 } => {
        migration(&[(Role::Start, "a"), (Role::Answer, "a"), (Role::Answer, "a")], &[0, 1, 2], &[0, 1, 2])
    },
}

/// One release with forms of these roles and servers, of which it accepts and emits some.
fn migration(forms: &[(Role, &str)], accepts: &[usize], emits: &[usize]) -> ProtocolChange {
    let form = |(place, &(role, server)): (usize, &(Role, &str))| MessageForm {
        name: format!("form {place}"),
        role,
        server: server.to_owned(),
        unknown: Unknown::Breach,
    };
    let set = |places: &[usize]| places.iter().copied().collect::<MessageForms>();
    let (accepts, emits) = (set(accepts), set(emits));
    ProtocolChange {
        name: "planted".to_owned(),
        about: String::new(),
        forms: forms.iter().enumerate().map(form).collect(),
        releases: vec![Behaviour { name: "1".to_owned(), accepts, emits, remembers: false }],
    }
}

#[test]
fn each_way_to_break_an_invariant_is_found_by_itself() {
    for (broken, migration) in planted() {
        let expected = (broken.invariant(), broken.sentence(&migration));
        assert_eq!(breach(&migration), Some(expected), "{}", name(broken));
    }
}

#[test]
fn what_is_as_it_should_be_breaks_nothing() {
    let all = [(Role::Start, "a"), (Role::End, "a"), (Role::Answer, "a")];
    assert_eq!(breach(&migration(&all, &[0, 1, 2], &[0, 1, 2])), None);
    // A kill to a server that is not there does no harm where it says so.
    let mut ignored = migration(&[(Role::Start, "a"), (Role::End, "a"), (Role::End, "b")], &[0, 1], &[0, 1, 2]);
    assert_eq!(breach(&ignored).map(|(invariant, _)| invariant), Some(Invariant::S9));
    ignored.forms[2].unknown = Unknown::Ignored;
    assert_eq!(breach(&ignored), None);
}
