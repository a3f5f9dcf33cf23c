//! A reader of pickles that builds data and calls nothing.
//!
//! It knows the opcodes that `torch.save` wrote under Python 2 and 3 (protocol 2) and refuses the
//! rest. Objects live in one table and refer to each other by number, so that sharing costs
//! nothing, cycles do no harm and nothing recurses.

mod reader;

use super::Outcome;
use reader::Reader;

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
        let mut reader = Reader::new(bytes, *at);
        for _ in 0..MAX_OPCODES {
            let start = reader.at();
            let step = reader.step().map_err(|reason| format!("{reason} at byte {start} of its pickle"))?;
            if let Some(root) = step {
                *at = reader.at();
                return Ok(Self { objects: reader.into_objects(), root });
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
