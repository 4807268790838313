//! serde-reflection as a second opinion on every layout of the wire.

use rexi_proto::{Kind, LayoutVisitor, WIRE_VERSIONS, show_hello, show_layouts};
use serde::{Deserialize, Serialize};
use serde_reflection::{ContainerFormat, Format, Registry, Samples, Tracer, TracerConfig, VariantFormat};

use super::*;

/// The layouts that both have told.
#[derive(Default)]
struct Opinions(Vec<Kind>);

impl LayoutVisitor for Opinions {
    fn header<T: Serialize + Deserialize<'static>>(&mut self, kind: Kind) {
        let ours = trace::<T>().unwrap_or_else(|error| panic!("{kind:?}: {error}"));
        let mut tracer = Tracer::new(TracerConfig::default());
        let samples: &'static Samples = Box::leak(Box::default());
        let (theirs, _) = tracer.trace_type::<T>(samples).unwrap_or_else(|error| panic!("{kind:?}: {error}"));
        // Of an enum inside a struct it looks at one variant, and the whole registry would be refused for that.
        agree(&ours, &theirs, &tracer.registry_unchecked());
        self.0.push(kind);
    }

    fn payload(&mut self, _kind: Kind) {}
}

fn agree(ours: &Type, theirs: &Format, registry: &Registry) {
    match (ours, theirs) {
        (Type::Struct(ours), Format::TypeName(name)) => {
            assert_eq!(ours.name, *name);
            container(&ours.parts, &registry[name], registry);
        }
        (Type::Enum(ours), Format::TypeName(name)) => {
            assert_eq!(ours.name, *name);
            let ContainerFormat::Enum(variants) = &registry[name] else { panic!("{name} is an enum") };
            for (&number, theirs) in variants {
                // One that it has not looked at has its name, and no number yet.
                let Some(ours) = ours.variants.get(number as usize) else {
                    assert!(ours.variants.iter().any(|ours| ours.name == theirs.name), "{name} has {}", theirs.name);
                    continue;
                };
                assert_eq!(ours.name, theirs.name, "variant {number} of {name}");
                variant(&ours.parts, &theirs.value, registry);
            }
        }
        (Type::Option(ours), Format::Option(theirs)) | (Type::Seq(ours), Format::Seq(theirs)) => {
            agree(ours, theirs, registry);
        }
        (Type::Tuple(ours), Format::Tuple(theirs)) => all(ours, theirs, registry),
        (Type::Tuple(ours), Format::TupleArray { content, size }) => {
            all(ours, &vec![(**content).clone(); *size], registry);
        }
        // What it has not looked at it cannot contradict.
        (_, Format::Variable(_)) => {}
        _ => assert_eq!(format!("{ours:?}"), format!("{theirs:?}")),
    }
}

fn all(ours: &[Type], theirs: &[Format], registry: &Registry) {
    assert_eq!(ours.len(), theirs.len());
    ours.iter().zip(theirs).for_each(|(ours, theirs)| agree(ours, theirs, registry));
}

fn fields(ours: &[Field], theirs: &[serde_reflection::Named<Format>], registry: &Registry) {
    assert_eq!(ours.len(), theirs.len());
    for (ours, theirs) in ours.iter().zip(theirs) {
        assert_eq!(ours.name, theirs.name);
        agree(&ours.r#type, &theirs.value, registry);
    }
}

fn container(ours: &Parts, theirs: &ContainerFormat, registry: &Registry) {
    match (ours, theirs) {
        (Parts::Unit, ContainerFormat::UnitStruct) => {}
        (Parts::Newtype(ours), ContainerFormat::NewTypeStruct(theirs)) => agree(ours, theirs, registry),
        (Parts::Tuple(ours), ContainerFormat::TupleStruct(theirs)) => all(ours, theirs, registry),
        (Parts::Fields(ours), ContainerFormat::Struct(theirs)) => fields(ours, theirs, registry),
        _ => panic!("{ours:?} and {theirs:?}"),
    }
}

fn variant(ours: &Parts, theirs: &VariantFormat, registry: &Registry) {
    match (ours, theirs) {
        (Parts::Unit, VariantFormat::Unit) | (_, VariantFormat::Variable(_)) => {}
        (Parts::Newtype(ours), VariantFormat::NewType(theirs)) => agree(ours, theirs, registry),
        (Parts::Tuple(ours), VariantFormat::Tuple(theirs)) => all(ours, theirs, registry),
        (Parts::Fields(ours), VariantFormat::Struct(theirs)) => fields(ours, theirs, registry),
        _ => panic!("{ours:?} and {theirs:?}"),
    }
}

#[test]
fn serde_reflection_tells_the_same_of_every_layout() {
    let mut told = Opinions::default();
    for version in WIRE_VERSIONS {
        show_layouts(version, &mut told);
    }
    show_hello(&mut told);
    assert!(told.0.len() > 60, "{} layouts", told.0.len());
}

/// Types that hold themselves, with something behind the place where they do.
mod recursive {
    use serde::{Deserialize, Serialize};

    macro_rules! types {
        ($($item:item)*) => { $(#[derive(Debug, Serialize, Deserialize)] $item)* };
    }

    types! {
        pub(super) enum Expr { Num(i64), Add(Box<Expr>, Box<Expr>), Not(Box<Expr>), Of { all: Vec<Expr>, rest: u8 } }
        pub(super) enum Late { Add(Box<Late>, Box<Late>), Pair(Box<(Late, Late)>, u16), Num(i64) }
        pub(super) enum Rev { Nil, Cons(Box<Rev>, u32) }
        pub(super) enum Tree { Leaf, Node(Box<Tree>, Box<Tree>) }
        pub(super) struct Dir { kids: Kids, name: String }
        pub(super) enum Kids { Two(Box<Dir>, Box<Dir>), Many(Vec<Dir>, u8), None }
        pub(super) struct Chain(pub(super) Option<Box<Chain>>, u8);
        pub(super) enum Even { Odd(Box<Odd>, u8), End }
        pub(super) enum Odd { Even(Box<Even>, u16) }
        pub(super) enum Endless { More(Box<Endless>, u8), Other(Box<Endless>) }
    }
}

#[test]
fn what_stands_behind_a_recursive_place_is_known() {
    use recursive::*;
    let parts = |of: Type, variant: usize| match of {
        Type::Enum(of) => of.variants[variant].parts.types().into_iter().cloned().collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    let itself = |name: &str| Type::Recursive(name.to_owned());
    let expr = || trace::<Expr>().expect("it ends by Num");
    assert_eq!(parts(expr(), 0), [Type::I64]);
    assert_eq!(parts(expr(), 1), [itself("Expr"), itself("Expr")]);
    assert_eq!(parts(expr(), 2), [itself("Expr")]);
    assert_eq!(parts(expr(), 3), [Type::Seq(Box::new(itself("Expr"))), Type::U8]);
    let late = trace::<Late>().expect("it ends by its last");
    assert_eq!(parts(late, 1), [Type::Tuple(vec![itself("Late"), itself("Late")]), Type::U16]);
    assert_eq!(parts(trace::<Rev>().expect("it ends"), 1), [itself("Rev"), Type::U32]);
    assert_eq!(parts(trace::<Tree>().expect("it ends"), 1), [itself("Tree"), itself("Tree")]);
    let Type::Struct(dir) = trace::<Dir>().expect("it ends") else { panic!("a struct") };
    let [kids, Type::Str] = &dir.parts.types()[..] else { panic!("{dir:?}") };
    assert_eq!(parts((*kids).clone(), 1), [Type::Seq(Box::new(itself("Dir"))), Type::U8]);
    let Type::Struct(chain) = trace::<Chain>().expect("it ends") else { panic!("a struct") };
    assert_eq!(chain.parts.types(), [&Type::Option(Box::new(itself("Chain"))), &Type::U8]);
    let odd = parts(trace::<Even>().expect("it ends"), 0).remove(0);
    assert_eq!(parts(odd, 0), [itself("Even"), Type::U16]);
    let endless = trace::<Endless>().expect_err("no value of it ends").to_string();
    assert!(endless.contains("Endless holds itself in every value"), "{endless}");
}

#[test]
fn a_type_that_does_not_read_what_it_writes_is_refused() {
    #[derive(Debug, Serialize, Deserialize)]
    enum Skips {
        A,
        #[serde(skip)]
        #[expect(dead_code, reason = "it is what is skipped")]
        B,
        C,
        D,
    }
    #[derive(Debug, Serialize, Deserialize)]
    enum SkipsWithFields {
        A(u8),
        #[serde(skip)]
        #[expect(dead_code, reason = "it is what is skipped")]
        B(u8),
        C(u8),
    }
    #[derive(Debug, Serialize, Deserialize)]
    struct OneWay {
        #[serde(skip_serializing)]
        #[expect(dead_code, reason = "serde writes it")]
        a: u8,
        b: u16,
    }
    #[derive(Debug, Serialize, Deserialize)]
    struct Inside(Vec<Option<Skips>>);
    let refused = [
        trace::<Skips>().expect_err("C is written as B"),
        trace::<SkipsWithFields>().expect_err("C is written as B"),
        trace::<OneWay>().expect_err("a is not written"),
        trace::<Inside>().expect_err("it holds one"),
    ];
    for error in refused {
        assert!(error.to_string().contains("it does not read what it writes"), "{error}");
    }
}
