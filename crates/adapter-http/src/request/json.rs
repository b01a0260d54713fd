//! JSON bodies, read so that everything wrong with them can be reported at once: unknown fields, fields given
//! twice, and every wrong value.

use std::{cell::Cell, fmt};

use serde::de::{Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::problem::{FieldProblem, MAX_PROBLEMS};

/// A JSON value that keeps fields given twice.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    Number(serde_json::Number),
    String(String),
    Array(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    /// The texts in a list that is a field of an object.
    pub(crate) fn texts_of(&self, name: &str) -> Vec<&str> {
        let Self::Object(fields) = self else {
            return Vec::new();
        };
        let lists = fields.iter().filter(|(field, _)| field == name).filter_map(|(_, value)| match value {
            Self::Array(items) => Some(items),
            _ => None,
        });
        let texts = lists.flatten().filter_map(|item| match item {
            Self::String(text) => Some(text.as_str()),
            _ => None,
        });
        texts.collect()
    }

    /// The text of a field of an object, if it has one with that name and it is a text.
    pub(crate) fn text_of(&self, name: &str) -> Option<&str> {
        let Self::Object(fields) = self else {
            return None;
        };
        fields.iter().find_map(|(field, value)| match value {
            Self::String(text) if field == name => Some(text.as_str()),
            _ => None,
        })
    }
}

/// How many values are in a JSON text. Parsed, they take far more memory than the text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Size {
    /// All values, objects and arrays included.
    pub(crate) values: usize,
    pub(crate) objects: usize,
}

impl Size {
    /// Counts the values of one JSON text, without keeping any.
    pub(crate) fn of(bytes: &[u8]) -> serde_json::Result<Self> {
        let size = Cell::default();
        let mut deserializer = serde_json::Deserializer::from_slice(bytes);
        Counting(&size).deserialize(&mut deserializer)?;
        deserializer.end()?;
        Ok(size.get())
    }
}

#[derive(Clone, Copy)]
struct Counting<'a>(&'a Cell<Size>);

impl Counting<'_> {
    fn add(self, values: usize, objects: usize) {
        let size = self.0.get();
        self.0.set(Size { values: size.values + values, objects: size.objects + objects });
    }
}

impl<'de> DeserializeSeed<'de> for Counting<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        self.add(1, 0);
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Counting<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(self)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        self.add(0, 1);
        while fields.next_key::<IgnoredAny>()?.is_some() {
            fields.next_value_seed(self)?;
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        Ok(serde_json::Number::from_f64(value).map_or(Json::Null, Json::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Json, E> {
        Ok(Json::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element()? {
            array.push(item);
        }
        Ok(Json::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Json, A::Error> {
        let mut object = Vec::new();
        while let Some(field) = fields.next_entry()? {
            object.push(field);
        }
        Ok(Json::Object(object))
    }
}

/// The fields of one object, taken one by one. Everything that is wrong is collected.
#[derive(Debug)]
pub(crate) struct Fields {
    /// JSON Pointer to the object, empty for the whole body.
    at: String,
    fields: Vec<(String, Json)>,
    problems: Vec<FieldProblem>,
}

impl Fields {
    /// The fields of `json`, which is the value at the JSON Pointer `at`.
    pub(crate) fn of(json: Json, at: &str) -> Self {
        let mut problems = Vec::new();
        let fields = if let Json::Object(fields) = json {
            fields
        } else {
            problems.push(field_problem(at.to_owned(), "wrong-type", "must be an object"));
            Vec::new()
        };
        Self { at: at.to_owned(), fields, problems }
    }

    /// Takes the field out; `None` if it is missing. A field that is given twice is a problem.
    pub(crate) fn take(&mut self, name: &str) -> Option<Json> {
        let index = self.fields.iter().position(|(field, _)| field == name)?;
        let (_, value) = self.fields.remove(index);
        if self.fields.iter().any(|(field, _)| field == name) {
            self.fields.retain(|(field, _)| field != name);
            self.fault(name, "duplicate", "is given twice");
        }
        Some(value)
    }

    /// Takes a field that may be missing; `null` counts as missing.
    pub(crate) fn optional<T>(&mut self, name: &str, read: impl FnOnce(Json) -> Result<T, Fault>) -> Option<T> {
        match self.take(name)? {
            Json::Null => None,
            value => self.check(name, read(value)),
        }
    }

    /// Takes a field that must be there.
    pub(crate) fn required<T>(&mut self, name: &str, read: impl FnOnce(Json) -> Result<T, Fault>) -> Option<T> {
        if let Some(value) = self.take(name) {
            self.check(name, read(value))
        } else {
            self.fault(name, "required", "is required");
            None
        }
    }

    /// Takes a field of a merge patch. A missing field leaves the value as it is, `null` clears it.
    pub(crate) fn patch<T>(&mut self, name: &str, read: impl FnOnce(Json) -> Result<T, Fault>) -> Option<Option<T>> {
        match self.take(name)? {
            Json::Null => Some(None),
            value => self.check(name, read(value)).map(Some),
        }
    }

    fn check<T>(&mut self, name: &str, read: Result<T, Fault>) -> Option<T> {
        let wrong = |fault: Fault| {
            let field = pointer(&self.at, name);
            let place = fault.item.map_or(field.clone(), |index| format!("{field}/{index}"));
            self.add(place, fault.code, &fault.detail);
        };
        read.map_err(wrong).ok()
    }

    /// Records what is wrong with a field.
    pub(crate) fn fault(&mut self, name: &str, code: &'static str, detail: &str) {
        self.add(pointer(&self.at, name), code, detail);
    }

    fn add(&mut self, pointer: String, code: &'static str, detail: &str) {
        // One more than is reported: it shows that there are more.
        if self.problems.len() <= MAX_PROBLEMS {
            self.problems.push(field_problem(pointer, code, detail));
        }
    }

    /// Reports the fields that were not taken as unknown. Returns everything that is wrong; one more than
    /// [`MAX_PROBLEMS`] if there is more than that.
    pub(crate) fn finish(mut self) -> Vec<FieldProblem> {
        for (name, _) in std::mem::take(&mut self.fields) {
            self.fault(&name, "unknown-field", "is not a field of this body");
        }
        self.problems
    }
}

/// What is wrong with a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) code: &'static str,
    pub(crate) detail: String,
    /// Which item of an array it is about, if it is about one.
    item: Option<usize>,
}

impl Fault {
    pub(crate) fn new(code: &'static str, detail: impl fmt::Display) -> Self {
        Self { code, detail: detail.to_string(), item: None }
    }

    pub(crate) fn of_item(self, index: usize) -> Self {
        Self { item: Some(index), ..self }
    }
}

pub(crate) fn field_problem(pointer: String, code: &'static str, detail: &str) -> FieldProblem {
    FieldProblem { pointer, code: code.into(), detail: detail.to_owned() }
}

/// The JSON Pointer `at`, extended by `name` (RFC 6901 §3). Names are cut to 100 characters to keep the answer short.
fn pointer(at: &str, name: &str) -> String {
    let name: String = name.chars().take(100).collect();
    format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"))
}

pub(crate) fn string(json: Json) -> Result<String, Fault> {
    match json {
        Json::String(text) => Ok(text),
        _ => Err(Fault::new("wrong-type", "must be a string")),
    }
}

pub(crate) fn boolean(json: Json) -> Result<bool, Fault> {
    match json {
        Json::Bool(value) => Ok(value),
        _ => Err(Fault::new("wrong-type", "must be true or false")),
    }
}

/// A whole number; `3.0` is one, as in JSON Schema.
pub(crate) fn whole_number(json: Json) -> Result<i64, Fault> {
    let wrong = || Fault::new("wrong-type", "must be a whole number");
    match json {
        Json::Number(number) => number
            .as_i64()
            .or_else(|| {
                number.as_f64().and_then(|value| format!("{value:.0}").parse().ok().filter(|_| value.fract() == 0.0))
            })
            .ok_or_else(wrong),
        _ => Err(wrong()),
    }
}

pub(crate) fn strings(json: Json) -> Result<Vec<String>, Fault> {
    match json {
        Json::Array(items) => items
            .into_iter()
            .enumerate()
            .map(|(index, item)| string(item).map_err(|fault| fault.of_item(index)))
            .collect(),
        _ => Err(Fault::new("wrong-type", "must be an array of strings")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(text: &str) -> Fields {
        Fields::of(serde_json::from_str(text).expect("JSON"), "")
    }

    fn told(problems: &[FieldProblem]) -> Vec<(&str, &str)> {
        problems.iter().map(|problem| (problem.pointer.as_str(), problem.code.as_ref())).collect()
    }

    #[test]
    fn everything_wrong_is_reported_at_once() {
        let mut fields = fields(r#"{"a":1,"b":"x","b":"y","c/~":0,"e":null}"#);
        assert_eq!(fields.required("a", string), None);
        assert_eq!(fields.required("b", string), Some("x".to_owned()));
        assert_eq!(fields.required("d", string), None);
        assert_eq!(fields.optional("e", string), None);
        let problems = fields.finish();
        assert_eq!(
            told(&problems),
            [("/a", "wrong-type"), ("/b", "duplicate"), ("/d", "required"), ("/c~1~0", "unknown-field")]
        );
    }

    #[test]
    fn a_patch_tells_missing_from_null() {
        let mut fields = fields(r#"{"a":null,"b":"x"}"#);
        assert_eq!(fields.patch("a", string), Some(None));
        assert_eq!(fields.patch("b", string), Some(Some("x".to_owned())));
        assert_eq!(fields.patch("c", string), None);
        assert!(fields.finish().is_empty());
    }

    #[test]
    fn the_number_of_problems_is_bounded() {
        let text = (0..150).map(|n| format!("\"f{n}\":0")).collect::<Vec<_>>().join(",");
        assert_eq!(fields(&format!("{{{text}}}")).finish().len(), MAX_PROBLEMS + 1);
    }

    #[test]
    fn a_body_that_is_no_object_is_one_problem() {
        assert_eq!(told(&fields("[1]").finish()), [("", "wrong-type")]);
    }

    #[test]
    fn values_are_counted_whatever_their_shape() {
        let size = |text: &str| Size::of(text.as_bytes()).map(|size| (size.values, size.objects)).ok();
        for (text, expected) in [
            ("0", (1, 0)),
            ("[0,null,true,-1.5,\"\\u0041\"]", (6, 0)),
            ("[[],[[]],{}]", (5, 1)),
            ("{\"a\":0,\"a\":{\"b\":[1,{}]}}", (6, 3)),
        ] {
            assert_eq!(size(text), Some(expected), "{text}");
        }
        for text in ["", "[0", "[0,]", "{\"a\"}", "{} {}", "nul", "\"\u{1}\"", "{0:1}"] {
            assert!(size(text).is_none() && serde_json::from_str::<Json>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn whole_numbers_may_be_written_as_floats() {
        let number = |text: &str| whole_number(serde_json::from_str(text).expect("JSON"));
        assert_eq!(number("302"), Ok(302));
        assert_eq!(number("302.0"), Ok(302));
        assert!(number("302.5").is_err());
        assert!(number("1e300").is_err());
        assert!(number("\"302\"").is_err());
    }
}
