//! How a machine is made of a layout: its places, what takes their bytes, and how many bytes are still to come, at
//! least and at most.

use super::{Kind, Machine, Node};
use crate::wire::schema::{Named, Parts, Type};

impl Machine {
    pub(super) fn node(&mut self, kind: Kind, r#type: &Type) -> usize {
        let (children, labels, variants) = Default::default();
        self.nodes.push(Node {
            kind,
            children,
            labels,
            variants,
            r#type: r#type.clone(),
            least: u32::MAX,
            most: 0,
            fixed: false,
        });
        self.nodes.len() - 1
    }

    pub(super) fn add<'a>(&mut self, r#type: &'a Type, inside: &mut Vec<(&'a str, usize)>) -> usize {
        let kind = match r#type {
            Type::Recursive(name) => {
                let outer = inside.iter().rev().find(|(outer, _)| outer == name);
                return outer.expect("a type refers to what it is inside of").1;
            }
            Type::Bool => Kind::Bool,
            Type::U8 | Type::I8 => Kind::Octet,
            Type::U16 | Type::I16 => Kind::Varint(16),
            Type::U32 | Type::I32 => Kind::Varint(32),
            Type::U64 | Type::I64 => Kind::Varint(64),
            Type::U128 | Type::I128 => Kind::Varint(128),
            Type::F32 => Kind::Fixed(4),
            Type::F64 => Kind::Fixed(8),
            Type::Char => Kind::Char,
            Type::Str => Kind::Text,
            Type::Option(_) => Kind::Option(false),
            Type::Seq(_) | Type::Map(..) | Type::Bytes => Kind::List,
            Type::Unit | Type::Tuple(_) | Type::Struct(_) => Kind::Group,
            Type::Enum(_) => Kind::Enum,
        };
        let id = self.node(kind, r#type);
        match r#type {
            Type::Bytes => self.nodes[id].children = vec![self.node(Kind::Octet, &Type::U8)],
            Type::Option(inner) | Type::Seq(inner) => {
                self.nodes[id].children = self.list([("", &**inner)], inside).0;
            }
            Type::Map(key, value) => {
                let entry = self.node(Kind::Group, &Type::Tuple(Vec::new()));
                let (children, labels) = self.list([("", &**key), ("", &**value)], inside);
                (self.nodes[entry].children, self.nodes[entry].labels) = (children, labels);
                self.nodes[id].children = vec![entry];
            }
            Type::Tuple(parts) => {
                let (children, labels) = self.list(parts.iter().map(|part| ("", part)), inside);
                (self.nodes[id].children, self.nodes[id].labels) = (children, labels);
            }
            Type::Struct(named) => {
                inside.push((&named.name, id));
                let (children, labels) = self.parts(&named.parts, inside);
                (self.nodes[id].children, self.nodes[id].labels) = (children, labels);
                inside.pop();
            }
            Type::Enum(of) => {
                inside.push((&of.name, id));
                let variants = of.variants.iter().map(|Named { parts, .. }| self.parts(parts, inside)).collect();
                self.nodes[id].variants = variants;
                inside.pop();
            }
            _ => {}
        }
        id
    }

    fn parts<'a>(&mut self, parts: &'a Parts, inside: &mut Vec<(&'a str, usize)>) -> (Vec<usize>, Vec<String>) {
        self.list(parts.labels().into_iter().zip(parts.types()), inside)
    }

    fn list<'a>(
        &mut self,
        parts: impl IntoIterator<Item = (&'a str, &'a Type)>,
        inside: &mut Vec<(&'a str, usize)>,
    ) -> (Vec<usize>, Vec<String>) {
        let parts = parts.into_iter().filter(|(_, part)| !part.is_empty());
        parts.map(|(label, part)| (self.add(part, inside), label.to_owned())).unzip()
    }

    pub(super) fn mark_bulk(&mut self, header: usize) {
        let bulk = self.nodes[header].labels.iter().position(|label| label == "bulk");
        if let Some(node) = bulk.map(|at| self.nodes[header].children[at])
            && self.nodes[node].kind == Kind::Option(false)
        {
            self.nodes[node].kind = Kind::Option(true);
        }
    }

    /// Finds how few bytes each node can do with, so that a value of a recursive type can be ended.
    pub(super) fn settle_least(&mut self) {
        let mut changed = true;
        while changed {
            changed = false;
            for id in 0..self.nodes.len() {
                let sum = |ids: &[usize]| ids.iter().fold(0_u32, |sum, &id| sum.saturating_add(self.nodes[id].least));
                let node = &self.nodes[id];
                let least = match node.kind {
                    Kind::Group => sum(&node.children),
                    Kind::Enum => node
                        .variants
                        .iter()
                        .map(|(children, _)| sum(children))
                        .min()
                        .unwrap_or(u32::MAX)
                        .saturating_add(1),
                    Kind::Fixed(bytes) => bytes.into(),
                    Kind::Char => 2,
                    Kind::Payload => 0,
                    _ => 1,
                };
                if least < node.least {
                    self.nodes[id].least = least;
                    changed = true;
                }
            }
        }
    }

    /// Finds how many bytes each node can take. What is nested in itself has no bound, nor has a payload.
    pub(super) fn settle_most(&mut self) {
        // Without recursion each round settles a level; what still grows after a round for each node has no bound.
        let rounds = self.nodes.len() + 1;
        for round in 0..=rounds {
            for id in 0..self.nodes.len() {
                let sum = |ids: &[usize]| ids.iter().fold(0_u32, |sum, &id| sum.saturating_add(self.nodes[id].most));
                let node = &self.nodes[id];
                let length = u32::from(self.length_max);
                let most = match node.kind {
                    Kind::Octet | Kind::Bool => 1,
                    Kind::Varint(bits) => bits.div_ceil(7),
                    Kind::Fixed(bytes) => bytes.into(),
                    Kind::Char => 5,
                    Kind::Text => 1 + length,
                    Kind::Option(_) => sum(&node.children).saturating_add(1),
                    Kind::List => sum(&node.children).saturating_mul(length).saturating_add(1),
                    Kind::Group => sum(&node.children),
                    Kind::Enum => {
                        node.variants.iter().map(|(children, _)| sum(children)).max().unwrap_or(0).saturating_add(2)
                    }
                    Kind::Payload => u32::MAX,
                };
                let all_fixed = |ids: &[usize]| ids.iter().all(|&id| self.nodes[id].fixed);
                let fixed = match node.kind {
                    Kind::List | Kind::Text | Kind::Payload => false,
                    Kind::Option(_) | Kind::Group => all_fixed(&node.children),
                    Kind::Enum => node.variants.iter().all(|(children, _)| all_fixed(children)),
                    _ => true,
                };
                self.nodes[id].fixed = fixed;
                let node = &self.nodes[id];
                if most > node.most {
                    self.nodes[id].most = if round == rounds { u32::MAX } else { most };
                }
            }
        }
    }
}
