//! serde-reflection as a second opinion on every layout of the wire.

use rexi_proto::{Kind, LayoutVisitor, WIRE_VERSIONS, show_hello, show_layouts};
use serde::Serialize;
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
