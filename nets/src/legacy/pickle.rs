//! A reader of pickles that builds data and calls nothing.
//!
//! It knows the opcodes that `torch.save` wrote under Python 2 and 3 (protocol 2) and refuses the
//! rest. Objects live in one table and refer to each other by number, so that sharing costs
//! nothing, cycles do no harm and nothing recurses.

use super::Outcome;
use std::collections::BTreeMap;

/// Opcodes of one pickle at most; a LightCNN-29's has some three thousand. Every opcode makes at
/// most one object, so this bounds memory and time.
const MAX_OPCODES: usize = 1 << 20;

/// A position in the table of objects.
pub(super) type Id = usize;

/// One unpickled object.
#[derive(Debug)]
pub(super) enum Object<'a> {
    None,
    Bool,
    Int(i64),
    /// An integer of more than eight bytes, little-endian.
    LongInt(&'a [u8]),
    Float,
    Text(&'a str),
    /// A class or function, by module and name.
    Global(&'a str, &'a str),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// Something that Python would call, with its arguments. It is only ever looked at.
    Call(Id, Id),
    /// Something that is stored outside the pickle.
    Persistent(Id),
}

/// A pickle's objects.
#[derive(Debug)]
pub(super) struct Pickle<'a> {
    objects: Vec<Object<'a>>,
    root: Id,
}

impl<'a> Pickle<'a> {
    /// Reads the pickle that starts at `*at`, and moves `*at` behind it.
    pub(super) fn read(bytes: &'a [u8], at: &mut usize) -> Outcome<Self> {
        let mut reader =
            Reader { bytes, at: *at, objects: vec![], stack: vec![], marks: vec![], memo: BTreeMap::new() };
        for _ in 0..MAX_OPCODES {
            let start = reader.at;
            let step = reader.step().map_err(|reason| format!("{reason} at byte {start} of its pickle"))?;
            if let Some(root) = step {
                *at = reader.at;
                return Ok(Self { objects: reader.objects, root });
            }
        }
        Err(format!("a pickle of more than {MAX_OPCODES} steps"))
    }

    /// The object that was pickled.
    pub(super) fn root(&self) -> Id {
        self.root
    }

    pub(super) fn objects(&self) -> &[Object<'a>] {
        &self.objects
    }

    /// An object; numbers come from this table, so they are in it.
    pub(super) fn get(&self, id: Id) -> &Object<'a> {
        &self.objects[id]
    }

    pub(super) fn text(&self, id: Id) -> Option<&'a str> {
        match self.get(id) {
            Object::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A number of things: an integer that is not negative.
    pub(super) fn size(&self, id: Id) -> Option<usize> {
        match self.get(id) {
            Object::Int(value) => usize::try_from(*value).ok(),
            _ => None,
        }
    }

    pub(super) fn sequence(&self, id: Id) -> Option<&[Id]> {
        match self.get(id) {
            Object::Tuple(items) | Object::List(items) => Some(items),
            _ => None,
        }
    }

    /// Keys and values of a dictionary, ordered or not.
    pub(super) fn entries(&self, id: Id) -> Option<Vec<(Id, Id)>> {
        match self.get(id) {
            Object::Dict(entries) => Some(entries.clone()),
            // Python 2 made an ordered dictionary by a call with a list of pairs.
            Object::Call(function, arguments) if self.is_ordered_dict(*function) => {
                let [pairs] = self.sequence(*arguments)? else { return None };
                let pair = |id: &Id| match self.sequence(*id)? {
                    [key, value] => Some((*key, *value)),
                    _ => None,
                };
                self.sequence(*pairs)?.iter().map(pair).collect()
            }
            _ => None,
        }
    }

    fn is_ordered_dict(&self, function: Id) -> bool {
        matches!(self.get(function), Object::Global("collections", "OrderedDict"))
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    objects: Vec<Object<'a>>,
    stack: Vec<Id>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: BTreeMap<u32, Id>,
}

impl<'a> Reader<'a> {
    /// Executes one opcode; gives the root at the last.
    fn step(&mut self) -> Outcome<Option<Id>> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Outcome<Pickle<'_>> {
        Pickle::read(bytes, &mut 0)
    }

    fn keys<'a>(pickle: &Pickle<'a>) -> Vec<&'a str> {
        let entries = pickle.entries(pickle.root()).expect("a dictionary");
        entries.into_iter().map(|(key, _)| pickle.text(key).expect("text")).collect()
    }

    #[test]
    fn integers_of_every_length_are_read() {
        for (bytes, expected) in [
            (&b"\x80\x02K\xff."[..], 255),
            (b"\x80\x02M\xe9\x03.", 1001),
            (b"\x80\x02J\xff\xff\xff\xff.", -1),
            (b"\x80\x02\x8a\x00.", 0),
            (b"\x80\x02\x8a\x02\x00\x80.", -32768),
            (b"\x80\x02\x8a\x05\x00\x00\x00\x00\x01.", 1 << 32),
        ] {
            let pickle = read(bytes).expect("a pickle");
            assert!(matches!(pickle.get(pickle.root()), Object::Int(value) if *value == expected), "{expected}");
        }
    }

    #[test]
    fn an_ordered_dictionary_of_python_2_is_a_dictionary() {
        // OrderedDict([['a', 1], ['b', 2]]) in byte strings.
        let bytes =
            b"\x80\x02ccollections\nOrderedDict\nq\x00]q\x01(]q\x02(U\x01aq\x03K\x01e]q\x04(U\x01bK\x02ee\x85R.";
        assert_eq!(keys(&read(bytes).expect("a pickle")), ["a", "b"]);
    }

    #[test]
    fn an_ordered_dictionary_of_python_3_keeps_its_items_without_its_attributes() {
        let bytes = b"\x80\x02ccollections\nOrderedDict\n)R(X\x01\x00\x00\x00aK\x01X\x01\x00\x00\x00bK\x02u}b.";
        assert_eq!(keys(&read(bytes).expect("a pickle")), ["a", "b"]);
    }

    #[test]
    fn several_pickles_follow_each_other() {
        let (bytes, mut at) = (b"\x80\x02K\x01.\x80\x02K\x02.", 0);
        for expected in [1, 2] {
            let pickle = Pickle::read(bytes, &mut at).expect("a pickle");
            assert_eq!(pickle.size(pickle.root()), Some(expected));
        }
        assert_eq!(at, bytes.len());
    }

    #[test]
    fn calls_are_kept_and_never_made() {
        let pickle = read(b"\x80\x02cos\nsystem\nU\x08rm -rf /\x85R.").expect("a pickle");
        let Object::Call(function, _) = pickle.get(pickle.root()) else { panic!("expected a call") };
        assert!(matches!(pickle.get(*function), Object::Global("os", "system")));
    }

    #[test]
    fn what_is_off_is_named_with_its_place() {
        for (bytes, expected) in [
            (&b"\x80\x02K"[..], "its end at byte 2 of its pickle"),
            (b"\x80\x04K\x01.", "pickle protocol 4 where 2 is usual at byte 0 of its pickle"),
            (b"\x80\x02R.", "fewer objects than it takes at byte 2 of its pickle"),
            (b"\x80\x02K\x01(R.", "fewer objects than it takes at byte 5 of its pickle"),
            (b"\x80\x02h\x07.", "an object recalled that was never kept at byte 2 of its pickle"),
            (b"\x80\x02t.", "the end of a group that never began at byte 2 of its pickle"),
            (b"\x80\x02}(K\x01u.", "a key without a value at byte 6 of its pickle"),
            (b"\x80\x02K\x01K\x01a.", "items appended to something that is no list at byte 6 of its pickle"),
            (b"\x80\x02X\xff\xff\xff\xffabc.", "its end at byte 2 of its pickle"),
            (b"\x80\x02i", "the opcode 0x69, which no file of tensors needs, at byte 2 of its pickle"),
        ] {
            assert_eq!(read(bytes).unwrap_err(), expected);
        }
    }

    #[test]
    fn an_endless_pickle_is_refused() {
        assert_eq!(read(&[b'}'; MAX_OPCODES + 1]).unwrap_err(), "a pickle of more than 1048576 steps");
    }

    #[test]
    fn a_list_that_holds_itself_does_no_harm() {
        let pickle = read(b"\x80\x02]q\x00h\x00a.").expect("a pickle");
        assert_eq!(pickle.sequence(pickle.root()), Some(&[pickle.root()][..]));
    }
}
