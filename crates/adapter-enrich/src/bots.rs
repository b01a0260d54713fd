//! The list of bots, and what this project adds to it.

use std::ops::Range;

use regex_filtered::{Builder, Regexes};

/// Patterns of bots, as a JSON array of regular expressions. See `data/README.md`.
const LIST: &str = include_str!("../data/bots.json");

/// Patterns of the list that also match browsers of people, and what is used instead. `None` leaves a pattern out.
const REPLACED: [(&str, Option<&str>); 11] = [
    (r"AP3A\.240617\.008", None), // a build of Android 15, on many phones
    ("MetaIAB Facebook", None),   // the browser in the apps of Facebook
    ("Fluid", None),              // makes apps of web sites on macOS
    (r"Code\/1\.", None),         // editors, which open links that their users click
    (r"Trae\/", None),
    ("Butterfly", Some(r"Butterfly/")), // without the slash a phone
    ("Sonic", Some(r"RankSonic|Sonic/")),
    ("Sogou", Some("(?i:sogou[a-z -]*spider)")), // otherwise a browser
    ("speedy", Some("[Ss]peedy ?[Ss]pider")),
    (r"008\/", Some("^008/")),
    (r"RED\/", Some(r"\bRED/")),
];

/// Bots whose pattern in the list gives no good name. They go before the list.
const NAMED: [&str; 2] = ["YandexBot", "Pinterestbot"];

/// Marks of bots that are on no list. They go after it.
const GENERIC: [&str; 5] = [
    // No `u` before it: Cubot makes phones. Letters before it belong to the name.
    r"(?i)(?:^|[^u])bots?(?:[^a-z]|$)",
    r"(?i)crawl|spider|scraper|link.?checker|(?:url|link|site).?preview|unfurl",
    // Robots name the page that explains them, after their own name.
    r"(?:(?P<name>[A-Za-z][A-Za-z0-9 _.!-]*[A-Za-z0-9])[^A-Za-z]*)?\+ ?https?://",
    // Programs and libraries that fetch by themselves.
    concat!(
        r"^(?i:curl|libcurl|wget2?|aria2|httpie|xh|python|pycurl|urllib|urlgrabber|java|jakarta|apache-httpclient|",
        r"go|go-http-client|fasthttp|ruby|faraday|rest-client|typhoeus|php|guzzlehttp|symfony|zend|perl|lwp|",
        r"node|nodejs|undici|deno|bun|superagent|needle|phantomjs|reqwest|ureq|hyper|isahc|dart|",
        r"postmanruntime|insomnia|bruno|winhttp|powershell|libfetch|lua-resty-http|restsharp|akka-http|hackney)",
        r"(?:/| |-http|-urllib|-requests|$)",
    ),
    "PowerShell/|HeadlessFirefox",
];

/// All patterns of bots.
pub(crate) struct Bots(Regexes);

impl Bots {
    /// Compiles the patterns.
    pub(crate) fn load() -> Self {
        let list: Vec<String> = serde_json::from_str(LIST).expect("the list is part of the program, and tested");
        let list = list.iter().filter_map(|pattern| match REPLACED.iter().find(|(replaced, _)| replaced == pattern) {
            Some((_, replacement)) => *replacement,
            None => Some(pattern.as_str()),
        });
        let patterns = NAMED.into_iter().chain(list).chain(GENERIC);
        let builder = Builder::new().push_all(patterns).expect("the patterns are part of the program, and tested");
        Self(builder.build().expect("the patterns are part of the program, and tested"))
    }

    /// The part of `user_agent` that names a bot; `None` if it is none.
    pub(crate) fn name<'a>(&self, user_agent: &'a str) -> Option<&'a str> {
        let (_, pattern) = self.0.matching(user_agent).next()?;
        let found = pattern.captures(user_agent)?;
        let name = found.name("name").map(|name| name.as_str());
        Some(name.unwrap_or_else(|| whole_name(user_agent, found.get_match().range())))
    }
}

/// What stands at `found`, up to the ends of its first and last word, without its version and what is around it.
fn whole_name(text: &str, found: Range<usize>) -> &str {
    let is_end = |c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_');
    let begin = text[..found.start].char_indices().rfind(|(_, c)| is_end(*c)).map_or(0, |(at, c)| at + c.len_utf8());
    let end = text[found.end..].find(is_end).map_or(text.len(), |length| found.end + length);
    let name = text[begin..end].trim_matches(|c: char| !c.is_alphanumeric());
    let version = name.match_indices('/').find(|(at, _)| name[at + 1..].starts_with(|c: char| c.is_ascii_digit()));
    version.map_or(name, |(at, _)| &name[..at])
}

/// Whether a user agent says nothing, not even a browser: as programs send it that hide what they are.
pub(crate) fn is_bare(user_agent: &str) -> bool {
    let user_agent = user_agent.trim();
    if user_agent.chars().filter(|c| c.is_alphanumeric()).count() < 3 {
        return true;
    }
    let rest = user_agent.strip_prefix("Mozilla/").unwrap_or("x");
    rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.')
        .trim_matches([' ', ';', '(', ')'])
        .trim_start_matches("compatible")
        .is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_whole_words_without_a_version() {
        let name = |text: &'static str, found: &str| {
            let begin = text.find(found).expect("it is there");
            whole_name(text, begin..begin + found.len())
        };
        assert_eq!(name("x Googlebot/2.1 (y)", "Googlebot/"), "Googlebot");
        assert_eq!(name("x RankSonicSiteAuditor/1.0", "Sonic"), "RankSonicSiteAuditor");
        assert_eq!(name("é.rogerbot é", "bot "), "rogerbot");
        assert_eq!(name("(compatible;Some Bot;", "Bot;"), "Bot");
    }

    #[test]
    fn a_user_agent_that_says_nothing_is_bare() {
        for text in ["", " ", "-", "''", "Mozilla/5.0", "Mozilla/4.0 (compatible;)", "Mozilla/5.0 (compatible)"] {
            assert!(is_bare(text), "{text}");
        }
        for text in ["Mozilla/5.0 (X11)", "Opera/9", "NokiaN70", "日本語"] {
            assert!(!is_bare(text), "{text}");
        }
    }

    #[test]
    fn what_is_replaced_is_on_the_list() {
        for (pattern, _) in REPLACED {
            let text = serde_json::to_string(pattern).expect("a string");
            assert!(LIST.lines().any(|line| line.trim_end_matches(',') == text), "{pattern}");
        }
    }
}
