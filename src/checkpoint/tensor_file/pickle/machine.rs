//! Python's pickle language, read and never executed: a stack machine over plain values that knows what tensors are made
//! of and refuses everything else by name.
//!
//! Values live in one arena and refer to each other by number, so that a file can make no more of them than it has bytes.

use std::collections::HashMap;

use crate::checkpoint::tensor_file::check_name;
use crate::printable;

/// Where a value stands in the arena.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Id(usize);

/// One value of a pickle.
#[derive(Debug, Clone)]
pub enum Value {
    Int(i64),
    Text(String),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// A name that is allowed, as `module.name`.
    Global(&'static str),
    /// A tensor's numbers, not read yet.
    Storage(Storage),
    Tensor(TensorPlace),
    /// Of no use here: numbers with a point, bytes, sets, objects; with what it was built from.
    Other(Option<Id>),
}

/// What a file says about a block of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Storage {
    /// PyTorch's name of its class, such as "HalfStorage".
    pub class: &'static str,
    /// Names it in the file: a text.
    pub key: Id,
}

/// A tensor as a view of a storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorPlace {
    pub storage: Storage,
    /// In numbers, from the storage's start.
    pub offset: usize,
    pub shape: Vec<usize>,
    pub strides: Vec<usize>,
}

/// A finished pickle.
#[derive(Debug)]
pub struct Pickle {
    arena: Vec<Value>,
    /// What was left when it stopped.
    pub root: Id,
    /// Bytes that were read.
    pub len: usize,
}

/// All that may be asked for. What is not about tensors is harmless baggage of trainers (AUTOMATIC1111's list); it is
/// read as [`Value::Other`].
const ALLOWED: &[&str] = &[
    "collections.OrderedDict",
    "torch._utils._rebuild_tensor",
    "torch._utils._rebuild_tensor_v2",
    "torch._utils._rebuild_parameter",
    "torch._utils._rebuild_device_tensor_from_numpy",
    "torch.FloatStorage",
    "torch.HalfStorage",
    "torch.BFloat16Storage",
    "torch.DoubleStorage",
    "torch.LongStorage",
    "torch.IntStorage",
    "torch.ShortStorage",
    "torch.CharStorage",
    "torch.ByteStorage",
    "torch.BoolStorage",
    "torch.float16",
    "torch.float32",
    "torch.float64",
    "torch.bfloat16",
    "torch.int64",
    "torch.Size",
    "torch.device",
    "torch.nn.modules.container.ParameterDict",
    "numpy.core.multiarray.scalar",
    "numpy.core.multiarray._reconstruct",
    "numpy._core.multiarray.scalar",
    "numpy.dtype",
    "numpy.ndarray",
    "_codecs.encode",
    "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint",
    "__builtin__.set",
    "builtins.set",
];

/// Deeper than any program pickles marks.
const MOST_MARKS: usize = 4096;
/// More values than the pickle of any checkpoint makes, its optimiser's included.
const MOST_VALUES: usize = 1 << 20;
/// PyTorch's tensors have at most 64 axes, those of models at most 5.
const MOST_AXES: usize = 8;

impl Pickle {
    /// Reads one pickle from the start of `bytes`.
    ///
    /// # Errors
    /// A sentence part: what it asked for that is not allowed, or how it is damaged.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        let mut machine = Machine {
            bytes,
            at: 0,
            arena: Vec::new(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            copied: 0,
        };
        loop {
            if machine.arena.len() + machine.stack.len() + machine.copied > MOST_VALUES {
                return Err("its pickle makes more values than any model has".to_owned());
            }
            let op = machine.byte()?;
            if op == b'.' {
                let root = machine.pop()?;
                return Ok(Self { arena: machine.arena, root, len: machine.at });
            }
            machine.step(op)?;
        }
    }

    /// The value at `id`.
    pub fn get(&self, id: Id) -> &Value {
        &self.arena[id.0]
    }

    /// All values, in the order in which they were made.
    pub fn values(&self) -> impl Iterator<Item = &Value> {
        self.arena.iter()
    }

    /// The value under a text key of a dictionary; an object's dictionary counts as its own.
    pub fn item(&self, id: Id, key: &str) -> Option<Id> {
        self.items(id)?.iter().find(|(k, _)| self.text(*k) == Some(key)).map(|(_, value)| *value)
    }

    /// The entries of a dictionary, or of an object's.
    pub fn items(&self, id: Id) -> Option<&[(Id, Id)]> {
        let own = match self.get(id) {
            Value::Other(Some(state)) => self.get(*state),
            value => value,
        };
        if let Value::Dict(items) = own { Some(items) } else { None }
    }

    /// The text at `id`.
    pub fn text(&self, id: Id) -> Option<&str> {
        if let Value::Text(text) = self.get(id) { Some(text) } else { None }
    }
}

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    arena: Vec<Value>,
    stack: Vec<Id>,
    /// Lengths of the stack.
    marks: Vec<usize>,
    memo: HashMap<usize, Id>,
    /// Entries of lists that became dictionaries, which a file may ask for again and again.
    copied: usize,
}

fn cut_off() -> String {
    "its pickle is cut off".to_owned()
}

impl Machine<'_> {
    fn take(&mut self, count: usize) -> Result<&[u8], String> {
        let end = self.at.checked_add(count).filter(|end| *end <= self.bytes.len()).ok_or_else(cut_off)?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, String> {
        Ok(self.take(1)?[0])
    }

    /// An unsigned little-endian number of `width` bytes, at most 8.
    fn number(&mut self, width: usize) -> Result<usize, String> {
        let value = self.take(width)?.iter().rev().fold(0_u64, |n, byte| n << 8 | u64::from(*byte));
        usize::try_from(value).map_err(|_| cut_off())
    }

    /// Up to the next end of line.
    fn line(&mut self) -> Result<String, String> {
        let rest = &self.bytes[self.at..];
        let len = rest.iter().position(|byte| *byte == b'\n').ok_or_else(cut_off)?;
        let line = String::from_utf8_lossy(&rest[..len]).into_owned();
        self.at += len + 1;
        Ok(line)
    }

    fn text(&mut self, width: usize) -> Result<(), String> {
        let len = self.number(width)?;
        let text = String::from_utf8_lossy(self.take(len)?).into_owned();
        self.push(Value::Text(text));
        Ok(())
    }

    fn skipped(&mut self, len: usize) -> Result<(), String> {
        self.take(len)?;
        self.push(Value::Other(None));
        Ok(())
    }

    fn push(&mut self, value: Value) {
        self.arena.push(value);
        self.stack.push(Id(self.arena.len() - 1));
    }

    fn pop(&mut self) -> Result<Id, String> {
        // Nothing below the last mark belongs to what comes after it.
        if self.stack.len() <= self.marks.last().copied().unwrap_or(0) {
            return Err("its pickle takes more than it has".to_owned());
        }
        self.stack.pop().ok_or_else(cut_off)
    }

    fn top(&self) -> Result<Id, String> {
        self.stack.last().copied().ok_or_else(|| "its pickle takes more than it has".to_owned())
    }

    fn since_mark(&mut self) -> Result<Vec<Id>, String> {
        let mark = self.marks.pop().ok_or("its pickle has no mark where one is needed")?;
        Ok(self.stack.split_off(mark.min(self.stack.len())))
    }

    fn remember(&mut self, place: usize) -> Result<(), String> {
        let id = self.top()?;
        self.memo.insert(place, id);
        Ok(())
    }

    fn recall(&mut self, place: usize) -> Result<(), String> {
        let id = *self.memo.get(&place).ok_or("its pickle recalls what it never said")?;
        self.stack.push(id);
        Ok(())
    }

    fn step(&mut self, op: u8) -> Result<(), String> {
        match op {
            0x80 => _ = self.take(1)?,
            0x95 => _ = self.take(8)?,
            b'(' if self.marks.len() < MOST_MARKS => self.marks.push(self.stack.len()),
            b'0' => _ = self.pop()?,
            b'1' => _ = self.since_mark()?,
            b'2' => self.stack.push(self.top()?),
            b'N' => self.push(Value::Other(None)),
            0x88 | 0x89 => self.push(Value::Int(i64::from(op == 0x88))),
            b'q' => self.number(1).and_then(|place| self.remember(place))?,
            b'r' => self.number(4).and_then(|place| self.remember(place))?,
            b'p' => self.line().and_then(|line| self.remember(line.trim().parse().map_err(|_| cut_off())?))?,
            0x94 => self.remember(self.memo.len())?,
            b'h' => self.number(1).and_then(|place| self.recall(place))?,
            b'j' => self.number(4).and_then(|place| self.recall(place))?,
            b'g' => self.line().and_then(|line| self.recall(line.trim().parse().map_err(|_| cut_off())?))?,
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.global(&module, &name)?;
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let (Value::Text(name), Value::Text(module)) = (&self.arena[name.0], &self.arena[module.0]) else {
                    return Err("its pickle asks for something without a name".to_owned());
                };
                let (name, module) = (name.clone(), module.clone());
                self.global(&module, &name)?;
            }
            b'R' | 0x81 => self.reduce()?,
            0x92 => {
                _ = self.pop()?;
                self.reduce()?;
            }
            b'b' => self.build()?,
            b'Q' => self.persistent()?,
            _ if self.plain_value(op)? || self.collection(op)? => {}
            other => return Err(format!("its pickle has an instruction that no tensors need, {other:#04x}")),
        }
        Ok(())
    }

    /// Numbers, texts and bytes.
    fn plain_value(&mut self, op: u8) -> Result<bool, String> {
        match op {
            b'K' => self.number(1).map(|n| self.push(Value::Int(n as i64)))?,
            b'M' => self.number(2).map(|n| self.push(Value::Int(n as i64)))?,
            b'J' => self.number(4).map(|n| self.push(Value::Int(i64::from(n as u32 as i32))))?,
            0x8a => {
                let width = self.number(1)?;
                let bytes = self.take(width)?;
                // Two's complement; what is longer than 8 bytes is PyTorch's magic number, or nothing that is needed.
                let negative = bytes.last().is_some_and(|byte| *byte >= 0x80);
                let start = if negative { -1_i64 } else { 0 };
                let value = bytes.iter().rev().take(8).fold(start, |n, byte| n << 8 | i64::from(*byte));
                self.push(if width <= 8 { Value::Int(value) } else { Value::Other(None) });
            }
            0x8b => self.number(4).and_then(|len| self.skipped(len))?,
            b'I' | b'L' => {
                let line = self.line()?;
                self.push(line.trim_end_matches('L').trim().parse().map_or(Value::Other(None), Value::Int));
            }
            b'F' => {
                self.line()?;
                self.push(Value::Other(None));
            }
            b'G' => self.skipped(8)?,
            b'X' | b'T' => self.text(4)?,
            0x8c | b'U' => self.text(1)?,
            0x8d => self.text(8)?,
            b'V' => {
                let line = self.line()?;
                self.push(Value::Text(line));
            }
            b'S' => {
                let line = self.line()?;
                self.push(Value::Text(line.trim().trim_matches(['\'', '"']).to_owned()));
            }
            b'B' => self.number(4).and_then(|len| self.skipped(len))?,
            b'C' => self.number(1).and_then(|len| self.skipped(len))?,
            0x8e | 0x96 => self.number(8).and_then(|len| self.skipped(len))?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn collection(&mut self, op: u8) -> Result<bool, String> {
        match op {
            b']' => self.push(Value::List(Vec::new())),
            b')' => self.push(Value::Tuple(Vec::new())),
            b'}' => self.push(Value::Dict(Vec::new())),
            0x8f => self.push(Value::Other(None)),
            0x85..=0x87 => {
                let mut items = Vec::new();
                for _ in 0x84..op {
                    items.push(self.pop()?);
                }
                items.reverse();
                self.push(Value::Tuple(items));
            }
            b't' => self.since_mark().map(|items| self.push(Value::Tuple(items)))?,
            b'l' => self.since_mark().map(|items| self.push(Value::List(items)))?,
            b'd' => {
                let items = self.since_mark()?;
                self.push(Value::Dict(pairs(&items)));
            }
            b'a' => {
                let item = self.pop()?;
                self.extend(&[item])?;
            }
            b'e' | 0x90 => self.since_mark().and_then(|items| self.extend(&items))?,
            0x91 => self.since_mark().map(|_| self.push(Value::Other(None)))?,
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.extend(&[key, value])?;
            }
            b'u' => self.since_mark().and_then(|items| self.extend(&items))?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Adds to the list or dictionary on top.
    fn extend(&mut self, items: &[Id]) -> Result<(), String> {
        let top = self.top()?;
        match &mut self.arena[top.0] {
            Value::List(list) => list.extend(items),
            Value::Dict(dict) => dict.extend(pairs(items)),
            Value::Other(_) => {}
            _ => return Err("its pickle adds to what holds nothing".to_owned()),
        }
        Ok(())
    }

    fn global(&mut self, module: &str, name: &str) -> Result<(), String> {
        let asked = format!("{module}.{name}");
        let Some(known) = ALLOWED.iter().find(|allowed| **allowed == asked) else {
            return Err(format!(
                "it asks to run \"{}\", which no model needs: do not trust it",
                printable::name(&asked)
            ));
        };
        self.push(Value::Global(known));
        Ok(())
    }

    /// A call, of which only those that make tensors and dictionaries mean something.
    fn reduce(&mut self) -> Result<(), String> {
        let (arguments, callee) = (self.pop()?, self.pop()?);
        let Value::Tuple(arguments) = &self.arena[arguments.0] else {
            return Err("its pickle calls with what are no arguments".to_owned());
        };
        let value = match (&self.arena[callee.0], arguments.as_slice()) {
            (Value::Global("collections.OrderedDict"), [items]) => match &self.arena[items.0] {
                Value::List(items) => {
                    self.copied += items.len();
                    Value::Dict(items.iter().filter_map(|item| self.pair(*item)).collect())
                }
                _ => Value::Dict(Vec::new()),
            },
            (Value::Global("collections.OrderedDict"), _) => Value::Dict(Vec::new()),
            (
                Value::Global("torch._utils._rebuild_tensor" | "torch._utils._rebuild_tensor_v2"),
                [storage, offset, shape, strides, ..],
            ) => self.tensor(*storage, *offset, *shape, *strides)?,
            (Value::Global("torch._utils._rebuild_parameter"), [data, ..]) => {
                self.stack.push(*data);
                return Ok(());
            }
            (Value::Global(_), _) => Value::Other(None),
            _ => return Err("its pickle calls what is no name".to_owned()),
        };
        self.push(value);
        Ok(())
    }

    fn tensor(&self, storage: Id, offset: Id, shape: Id, strides: Id) -> Result<Value, String> {
        let numbers = |id: Id| -> Option<Vec<usize>> {
            let Value::Tuple(items) = &self.arena[id.0] else { return None };
            items.iter().map(|item| self.count(*item)).collect::<Option<_>>().filter(|_| items.len() <= MOST_AXES)
        };
        let damaged = || "a tensor in its pickle is not described as one".to_owned();
        let Value::Storage(storage) = &self.arena[storage.0] else { return Err(damaged()) };
        let (offset, shape) = (self.count(offset).ok_or_else(damaged)?, numbers(shape).ok_or_else(damaged)?);
        let strides = numbers(strides).filter(|strides| strides.len() == shape.len()).ok_or_else(damaged)?;
        Ok(Value::Tensor(TensorPlace { storage: *storage, offset, shape, strides }))
    }

    fn count(&self, id: Id) -> Option<usize> {
        let Value::Int(number) = &self.arena[id.0] else { return None };
        usize::try_from(*number).ok()
    }

    fn pair(&self, id: Id) -> Option<(Id, Id)> {
        match &self.arena[id.0] {
            Value::Tuple(items) | Value::List(items) => items.first().copied().zip(items.get(1).copied()),
            _ => None,
        }
    }

    /// An object's state: kept where the object is of no use itself, for what it may hold.
    fn build(&mut self) -> Result<(), String> {
        let state = self.pop()?;
        let object = self.top()?;
        if let Value::Other(kept) = &mut self.arena[object.0] {
            *kept = Some(state);
        }
        Ok(())
    }

    /// `("storage", class, key, device, count)`, PyTorch's own way to speak of numbers.
    fn persistent(&mut self) -> Result<(), String> {
        let place = self.pop()?;
        let damaged = || "its pickle refers to something that is no storage of numbers".to_owned();
        let Value::Tuple(items) = &self.arena[place.0] else { return Err(damaged()) };
        let [kind, class, key, ..] = items.as_slice() else { return Err(damaged()) };
        let (Value::Text(kind), Value::Global(class), Value::Text(name)) =
            (&self.arena[kind.0], &self.arena[class.0], &self.arena[key.0])
        else {
            return Err(damaged());
        };
        // It is looked up for each tensor.
        check_name(name)?;
        let key = *key;
        let class = class.strip_prefix("torch.").filter(|class| kind == "storage" && class.ends_with("Storage"));
        let storage = Storage { class: class.ok_or_else(damaged)?, key };
        self.push(Value::Storage(storage));
        Ok(())
    }
}

fn pairs(items: &[Id]) -> Vec<(Id, Id)> {
    items.as_chunks::<2>().0.iter().map(|[key, value]| (*key, *value)).collect()
}
