//! Clicks as a whole.

use adapter_enrich::{Describer, DescriberOptions};
use domain::{
    click::{Click, ClickKind},
    ports::ClickDescriber,
};

use super::support::{a_click, describer};

#[test]
fn a_click_of_which_nothing_is_known_is_a_direct_one() {
    let traits = describer().describe(&a_click());
    assert_eq!((&*traits.referrer, &*traits.country, &*traits.language), ("(direct)", "(unknown)", "(unknown)"));
}

#[test]
fn referrer_and_language_are_told() {
    let options = DescriberOptions { own_hosts: vec!["go.example".to_owned()], ..DescriberOptions::default() };
    let mut describer = Describer::new(options).expect("it needs no file");
    let mut told = |referrer, language| {
        let traits = describer.describe(&Click { referrer, language, ..a_click() });
        (traits.referrer.to_string(), traits.language.to_string())
    };
    let expected = |referrer: &str, language: &str| (referrer.to_owned(), language.to_owned());
    // Twice: the second time it is known.
    for _ in 0..2 {
        assert_eq!(told("www.News.example", "de"), expected("news.example", "de"));
        assert_eq!(told("go.example", "xx"), expected("(direct)", "(unknown)"));
        assert_eq!(told("not a host", "fil"), expected("(unknown)", "fil"));
    }
}

#[test]
fn a_long_referrer_is_cut_off() {
    let referrer = format!("{}.example", vec!["a"; 100].join("."));
    let traits = describer().describe(&Click { referrer: &referrer, ..a_click() });
    assert_eq!(traits.referrer.len(), 100);
}

#[test]
fn a_prefetch_is_a_bot_with_the_browser_of_its_user() {
    let traits = describer().describe(&Click { is_prefetch: true, ..a_click() });
    assert_eq!((traits.kind, &*traits.browser, &*traits.device), (ClickKind::Bot, "Firefox", "desktop"));
}

#[test]
fn of_who_opts_out_only_the_kind_is_told() {
    let mut describer = describer();
    for (user_agent, kind) in [(a_click().user_agent, ClickKind::Human), ("curl/8.14.1", ClickKind::Bot)] {
        let traits = describer.describe(&Click { opted_out: true, user_agent, ..a_click() });
        assert_eq!(traits.kind, kind);
        for value in [traits.referrer, traits.country, traits.browser, traits.os, traits.device, traits.language] {
            assert_eq!(&*value, "(not recorded)");
        }
    }
}

#[test]
fn nothing_is_loaded_before_the_first_click() {
    let mut describer = describer();
    assert!(format!("{describer:?}").contains("is_loaded: false"));
    describer.describe(&a_click());
    assert!(format!("{describer:?}").contains("is_loaded: true"));
}

#[test]
fn a_click_tells_the_same_after_thousands_of_others() {
    let mut describer = describer();
    let first = describer.describe(&a_click());
    for number in 0..10_000 {
        let user_agent = format!("Mozilla/5.0 (X11; Linux x86_64; rv:{number}.0) Gecko/20100101 Firefox/{number}.0");
        describer.describe(&Click { user_agent: &user_agent, ..a_click() });
    }
    assert_eq!(describer.describe(&a_click()), first);
}
