//! User agents without the phrases that nearly all of them share, which halves them.

/// The begin of nearly every user agent (<https://webaim.org/blog/user-agent-string-history/>).
const START: &str = "Mozilla/5.0 (";

/// Phrases that follow the first parenthesis. Their numbers are part of the format: append only.
const PHRASES: [&str; 4] = [
    "",
    ") AppleWebKit/537.36 (KHTML, like Gecko) ",
    ") AppleWebKit/605.1.15 (KHTML, like Gecko) ",
    ") Gecko/20100101 Firefox/",
];

/// A user agent in two parts, and what is missing around them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Folded<'a> {
    /// 0: nothing is missing. Otherwise the start, and the phrase of this number less one.
    pub(super) shape: u8,
    /// What is between start and phrase, 255 bytes at most.
    pub(super) head: &'a str,
    /// What follows.
    pub(super) tail: &'a str,
}

impl<'a> Folded<'a> {
    /// Folds a user agent of 256 bytes at most.
    pub(super) fn of(user_agent: &'a str) -> Self {
        let Some(rest) = user_agent.strip_prefix(START) else {
            return Self { shape: 0, head: "", tail: user_agent };
        };
        if let Some(end) = rest.bytes().position(|byte| byte == b')') {
            let (head, after) = rest.split_at(end);
            for (shape, phrase) in (1_u8..).zip(PHRASES).skip(1) {
                if let Some(tail) = after.strip_prefix(phrase) {
                    return Self { shape, head, tail };
                }
            }
        }
        Self { shape: 1, head: "", tail: rest }
    }

    /// The whole user agent; `None` if the shape is unknown.
    pub(super) fn unfold(&self) -> Option<Box<str>> {
        let Some(phrase) = self.shape.checked_sub(1) else {
            return Some([self.head, self.tail].concat().into());
        };
        let phrase = PHRASES.get(usize::from(phrase))?;
        Some([START, self.head, phrase, self.tail].concat().into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn common_browsers_are_folded() {
        let of_shape = |shape, user_agent| {
            let folded = Folded::of(user_agent);
            assert_eq!((folded.shape, folded.unfold().as_deref()), (shape, Some(user_agent)));
        };
        of_shape(0, "");
        of_shape(0, "curl/8.5.0");
        of_shape(1, "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)");
        of_shape(1, "Mozilla/5.0 (cut off");
        of_shape(
            2,
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36",
        );
        of_shape(3, "Mozilla/5.0 (iPhone) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Safari/604.1");
        of_shape(4, "Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0");
    }

    #[test]
    fn an_unknown_shape_is_not_guessed() {
        assert_eq!(Folded { shape: 5, head: "a", tail: "b" }.unfold(), None);
    }

    proptest! {
        #[test]
        fn every_user_agent_comes_back(start in prop::sample::select(vec!["", START]), head in ".{0,40}",
            phrase in prop::sample::select(PHRASES.to_vec()), tail in ".{0,40}") {
            let user_agent = [start, &head, phrase, &tail].concat();
            prop_assert_eq!(&*Folded::of(&user_agent).unfold().expect("a known shape"), user_agent);
        }
    }
}
