//! The opcodes, one by one.

use super::{Id, Object};
use crate::legacy::Outcome;
use std::collections::BTreeMap;

/// The machine that a pickle is a program of.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    objects: Vec<Object<'a>>,
    stack: Vec<Id>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: BTreeMap<u32, Id>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at, objects: vec![], stack: vec![], marks: vec![], memo: BTreeMap::new() }
    }

    /// Where the next opcode is.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn into_objects(self) -> Vec<Object<'a>> {
        self.objects
    }

    /// Executes one opcode; gives the root at the last.
    pub(super) fn step(&mut self) -> Outcome<Option<Id>> {
        let opcode = self.byte()?;
        match opcode {
            0x80 => match self.byte()? {
                2 => {}
                other => return Err(format!("pickle protocol {other} where 2 is usual")),
            },
            b'.' => return Ok(Some(self.pop()?)),
            b'(' => self.marks.push(self.stack.len()),
            b'N' => self.push(Object::None),
            0x88 | 0x89 => self.push(Object::Bool),
            b'K' => {
                let value = self.byte()?;
                self.push(Object::Int(value.into()));
            }
            b'M' => {
                let value = u16::from_le_bytes(self.array()?);
                self.push(Object::Int(value.into()));
            }
            b'J' => {
                let value = i32::from_le_bytes(self.array()?);
                self.push(Object::Int(value.into()));
            }
            0x8a => {
                let len = self.byte()?;
                let digits = self.take(len.into())?;
                self.push(integer(digits));
            }
            b'G' => {
                self.take(8)?;
                self.push(Object::Float);
            }
            b'U' => {
                let len = self.byte()?;
                self.push_text(len.into())?;
            }
            b'X' | b'T' => {
                let len = u32::from_le_bytes(self.array()?);
                self.push_text(len as usize)?;
            }
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.push(Object::Global(module, name));
            }
            b')' => self.push(Object::Tuple(vec![])),
            0x85..=0x87 => {
                let items = self.pop_many(usize::from(opcode - 0x84))?;
                self.push(Object::Tuple(items));
            }
            b't' => {
                let items = self.pop_to_mark()?;
                self.push(Object::Tuple(items));
            }
            b']' => self.push(Object::List(vec![])),
            b'}' => self.push(Object::Dict(vec![])),
            b'a' => {
                let item = self.pop()?;
                self.append(vec![item])?;
            }
            b'e' => {
                let items = self.pop_to_mark()?;
                self.append(items)?;
            }
            b's' => {
                let pair = self.pop_many(2)?;
                self.set_items(&pair)?;
            }
            b'u' => {
                let pairs = self.pop_to_mark()?;
                self.set_items(&pairs)?;
            }
            b'q' => {
                let slot = self.byte()?;
                self.remember(slot.into())?;
            }
            b'r' => {
                let slot = u32::from_le_bytes(self.array()?);
                self.remember(slot)?;
            }
            b'h' => {
                let slot = self.byte()?;
                self.recall(slot.into())?;
            }
            b'j' => {
                let slot = u32::from_le_bytes(self.array()?);
                self.recall(slot)?;
            }
            b'R' => self.call()?,
            // An object's attributes: none of the objects read here has any that matter.
            b'b' => {
                self.pop()?;
                self.top()?;
            }
            b'Q' => {
                let id = self.pop()?;
                self.push(Object::Persistent(id));
            }
            other => return Err(format!("the opcode {other:#04x}, which no file of tensors needs,")),
        }
        Ok(None)
    }

    fn call(&mut self) -> Outcome<()> {
        let (arguments, function) = (self.pop()?, self.pop()?);
        let ordered_dict = matches!(self.objects[function], Object::Global("collections", "OrderedDict"));
        let no_arguments = matches!(&self.objects[arguments], Object::Tuple(items) if items.is_empty());
        self.push(if ordered_dict && no_arguments { Object::Dict(vec![]) } else { Object::Call(function, arguments) });
        Ok(())
    }

    fn append(&mut self, items: Vec<Id>) -> Outcome<()> {
        let list = self.top()?;
        match &mut self.objects[list] {
            Object::List(list) => list.extend(items),
            _ => return Err("items appended to something that is no list".to_owned()),
        }
        Ok(())
    }

    fn set_items(&mut self, pairs: &[Id]) -> Outcome<()> {
        let (pairs, []) = pairs.as_chunks::<2>() else { return Err("a key without a value".to_owned()) };
        let dict = self.top()?;
        match &mut self.objects[dict] {
            Object::Dict(dict) => dict.extend(pairs.iter().map(|&[key, value]| (key, value))),
            _ => return Err("items set in something that is no dictionary".to_owned()),
        }
        Ok(())
    }

    fn remember(&mut self, slot: u32) -> Outcome<()> {
        let top = self.top()?;
        self.memo.insert(slot, top);
        Ok(())
    }

    fn recall(&mut self, slot: u32) -> Outcome<()> {
        let id = *self.memo.get(&slot).ok_or("an object recalled that was never kept")?;
        self.stack.push(id);
        Ok(())
    }

    fn push(&mut self, object: Object<'a>) {
        self.stack.push(self.objects.len());
        self.objects.push(object);
    }

    fn push_text(&mut self, len: usize) -> Outcome<()> {
        let text = std::str::from_utf8(self.take(len)?).map_err(|_| "text that is not UTF-8")?;
        self.push(Object::Text(text));
        Ok(())
    }

    /// The object on top, which stays there. What lies below a mark is out of reach.
    fn top(&self) -> Outcome<Id> {
        let floor = self.marks.last().copied().unwrap_or(0);
        self.stack.get(floor..).and_then(<[Id]>::last).copied().ok_or_else(too_few)
    }

    fn pop(&mut self) -> Outcome<Id> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    fn pop_many(&mut self, count: usize) -> Outcome<Vec<Id>> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.len().checked_sub(count) {
            Some(start) if start >= floor => Ok(self.stack.split_off(start)),
            _ => Err(too_few()),
        }
    }

    fn pop_to_mark(&mut self) -> Outcome<Vec<Id>> {
        let mark = self.marks.pop().ok_or("the end of a group that never began")?;
        Ok(self.stack.split_off(mark))
    }

    fn take(&mut self, len: usize) -> Outcome<&'a [u8]> {
        let (taken, _) = self.bytes.get(self.at..).and_then(|rest| rest.split_at_checked(len)).ok_or("its end")?;
        self.at += len;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Outcome<[u8; N]> {
        self.take(N)?.try_into().map_err(|_| "its end".to_owned())
    }

    fn byte(&mut self) -> Outcome<u8> {
        self.array().map(|[byte]| byte)
    }

    fn line(&mut self) -> Outcome<&'a str> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let len = rest.iter().position(|&byte| byte == b'\n').ok_or("its end")?;
        let line = self.take(len)?;
        self.take(1)?;
        std::str::from_utf8(line).map_err(|_| "a name that is not UTF-8".to_owned())
    }
}

fn too_few() -> String {
    "fewer objects than it takes".to_owned()
}

/// A little-endian two's complement number of any length.
fn integer(digits: &[u8]) -> Object<'_> {
    if digits.len() > 8 {
        return Object::LongInt(digits);
    }
    let negative = digits.last().is_some_and(|&last| last >= 0x80);
    let mut value = [if negative { 0xff } else { 0 }; 8];
    value[..digits.len()].copy_from_slice(digits);
    Object::Int(i64::from_le_bytes(value))
}
