//! ComfyUI's graph: nodes by their ids, whose inputs are values or links to other nodes.
//!
//! Everything here follows links backwards. Each walk has a budget of steps, so that a circle or a hostile net ends.

use std::cell::Cell;

use serde_json::{Map, Value};

use crate::gallery::foreign::json;

/// The most links that one graph's reading follows; real graphs need a few hundred.
const MOST_STEPS: usize = 20_000;
/// The longest chain of links.
const MOST_DEPTH: usize = 100;

/// Nodes that only hold a value, and the input that it stands in.
const HOLDERS: &[(&str, &str)] = &[
    ("PrimitiveNode", "value"),
    ("PrimitiveInt", "value"),
    ("PrimitiveFloat", "value"),
    ("PrimitiveString", "value"),
    ("PrimitiveStringMultiline", "value"),
    ("INTConstant", "value"),
    ("FloatConstant", "value"),
    ("StringConstant", "string"),
    ("StringConstantMultiline", "string"),
    ("String Literal", "string"),
    ("Int Literal", "int"),
    ("Float Literal", "float"),
    ("Text Multiline", "text"),
    ("CR Text", "text"),
    ("CR Prompt Text", "prompt"),
    ("CR Seed", "seed"),
    ("Seed", "seed"),
    ("Seed (rgthree)", "seed"),
    ("Seed Everywhere", "seed"),
    ("easy seed", "seed"),
    ("easy int", "value"),
    ("easy float", "value"),
    ("easy positive", "positive"),
    ("easy negative", "negative"),
    ("JWInteger", "value"),
    ("JWFloat", "value"),
    ("JWString", "text"),
    ("ShowText|pysssss", "text"),
];
/// Nodes that join texts: the inputs in order, and the mark between them unless `delimiter` says it.
const JOINERS: &[(&str, &[&str])] = &[
    ("StringConcatenate", &["string_a", "string_b"]),
    ("Text Concatenate", &["text_a", "text_b", "text_c", "text_d"]),
    ("CR Text Concatenate", &["text1", "text2"]),
    ("JWStringConcat", &["a", "b"]),
];

/// Where a link leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link<'a> {
    /// The node.
    pub node: &'a str,
    /// Which of its outputs.
    pub slot: u64,
}

/// A graph as the server ran it.
pub struct Graph<'a> {
    nodes: &'a Map<String, Value>,
    steps_left: Cell<usize>,
}

impl<'a> Graph<'a> {
    /// The graph of a `prompt` object; keys beside the nodes do not matter.
    #[must_use]
    pub fn of(nodes: &'a Map<String, Value>) -> Self {
        Self { nodes, steps_left: Cell::new(MOST_STEPS) }
    }

    /// Ids and kinds of all nodes.
    pub fn nodes(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.nodes.keys().filter_map(|id| Some((id.as_str(), self.kind(id)?)))
    }

    /// The kind of a node.
    #[must_use]
    pub fn kind(&self, node: &str) -> Option<&'a str> {
        self.nodes.get(node)?.get("class_type")?.as_str()
    }

    /// A node's inputs.
    #[must_use]
    pub fn inputs(&self, node: &str) -> Option<&'a Map<String, Value>> {
        self.nodes.get(node)?.get("inputs")?.as_object()
    }

    /// An input as it stands.
    #[must_use]
    pub fn input(&self, node: &str, name: &str) -> Option<&'a Value> {
        self.inputs(node)?.get(name)
    }

    /// The node that an input is linked to. `None` too when the reading has taken too long.
    #[must_use]
    pub fn link(&self, node: &str, name: &str) -> Option<Link<'a>> {
        self.steps_left.set(self.steps_left.get().checked_sub(1)?);
        let link = link_of(self.input(node, name)?)?;
        self.nodes.contains_key(link.node).then_some(link)
    }

    /// An input's value as text, through nodes that hold or join values. `None` when it comes from elsewhere.
    #[must_use]
    pub fn value(&self, node: &str, name: &str) -> Option<String> {
        self.value_at(node, name, MOST_DEPTH)
    }

    fn value_at(&self, node: &str, name: &str, depth: usize) -> Option<String> {
        let value = self.input(node, name)?;
        if link_of(value).is_none() {
            return match value {
                Value::String(_) | Value::Number(_) | Value::Bool(_) => Some(json::plain(value)),
                // Some loaders wrap a file's name.
                Value::Object(wrapped) => wrapped.get("content")?.as_str().map(str::to_owned),
                Value::Null | Value::Array(_) => None,
            };
        }
        let depth = depth.checked_sub(1)?;
        let from = self.link(node, name)?.node;
        let kind = self.kind(from)?;
        if let Some((_, held)) = HOLDERS.iter().find(|(name, _)| *name == kind) {
            return self.value_at(from, held, depth);
        }
        let (_, parts) = JOINERS.iter().find(|(name, _)| *name == kind)?;
        let given = parts.iter().filter(|part| self.input(from, part).is_some());
        let texts: Option<Vec<String>> = given.map(|part| self.value_at(from, part, depth)).collect();
        let delimiter = self.input(from, "delimiter").or_else(|| self.input(from, "separator")).and_then(Value::as_str);
        let joined = texts?.join(delimiter.unwrap_or_default());
        // A net of joiners doubles a text with each of them.
        (joined.len() <= MOST_TEXT_BYTES).then_some(joined)
    }

    /// Every node that leads to `node`, itself among them.
    #[must_use]
    pub fn upstream(&self, node: &'a str) -> Vec<&'a str> {
        let mut seen = std::collections::BTreeSet::from([node]);
        let (mut found, mut at) = (vec![node], 0);
        while let Some(&next) = found.get(at) {
            at += 1;
            for link in self.inputs(next).into_iter().flatten().filter_map(|(_, value)| link_of(value)) {
                if self.nodes.contains_key(link.node) && seen.insert(link.node) {
                    found.push(link.node);
                }
            }
        }
        found
    }
}

/// The longest text that joiners make.
const MOST_TEXT_BYTES: usize = 1 << 16;

/// `["4:1", 0]`; old files have numbers for ids nowhere.
fn link_of(value: &Value) -> Option<Link<'_>> {
    match value.as_array()?.as_slice() {
        [Value::String(node), slot] => Some(Link { node, slot: slot.as_u64()? }),
        _ => None,
    }
}
