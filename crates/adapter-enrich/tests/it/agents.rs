//! User agents: a small sample of what `.ci/agents` checks with the public lists.

use domain::click::ClickKind;

use super::support::{describe_agent, describer};

#[test]
fn browsers_of_people_are_named() {
    let mut describer = describer();
    for (user_agent, browser, os, device) in [
        (
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
            "Chrome",
            "Windows",
            "desktop",
        ),
        (
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36 Edg/142.0.0.0",
            "Edge",
            "Windows",
            "desktop",
        ),
        (
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.1 Safari/605.1.15",
            "Safari",
            "Mac OS X",
            "desktop",
        ),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.1 Mobile/15E148 Safari/604.1",
            "Mobile Safari",
            "iOS",
            "mobile",
        ),
        (
            "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Mobile Safari/537.36",
            "Chrome Mobile",
            "Android",
            "mobile",
        ),
        (
            "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/29.0 Chrome/136.0.0.0 Safari/537.36",
            "Samsung Internet",
            "Android",
            "tablet",
        ),
        // Phones and in-app browsers that a pattern of the list would take for bots.
        (
            "Mozilla/5.0 (Linux; Android 15; CPH2557 Build/AP3A.240617.008; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/142.0.7444.142 Mobile Safari/537.36 Instagram 406.0.0.58.159 Android",
            "Instagram",
            "Android",
            "mobile",
        ),
        (
            "Mozilla/5.0 (Linux; Android 4.1.1; HTC Butterfly Build/JRO03C) AppleWebKit/535.19 (KHTML, like Gecko) Chrome/18.0.1025.166 Mobile Safari/535.19",
            "Chrome Mobile",
            "Android",
            "mobile",
        ),
        (
            "Mozilla/5.0 (Linux; Android 9; CUBOT) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Mobile Safari/537.36",
            "Chrome Mobile",
            "Android",
            "mobile",
        ),
        (
            "Mozilla/5.0 (Linux; U; Android 12; zh-cn) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/94.0 Mobile Safari/537.36 SogouMSE,SogouMobileBrowser/5.2",
            "Chrome",
            "Android",
            "mobile",
        ),
    ] {
        let traits = describe_agent(&mut describer, user_agent);
        assert_eq!(traits.kind, ClickKind::Human, "{user_agent}");
        assert_eq!((&*traits.browser, &*traits.os, &*traits.device), (browser, os, device), "{user_agent}");
    }
}

#[test]
fn bots_are_told_and_named_and_tell_nothing_else() {
    let mut describer = describer();
    for (user_agent, name) in [
        (
            "Mozilla/5.0 (Linux; Android 6.0.1; Nexus 5X Build/MMB29P) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Mobile Safari/537.36 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
            "Googlebot",
        ),
        ("Mozilla/5.0 (compatible; YandexBot/3.0; +http://yandex.com/bots)", "YandexBot"),
        ("facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)", "facebookexternalhit"),
        ("Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)", "Slackbot-LinkExpanding"),
        ("TelegramBot (like TwitterBot)", "TelegramBot"),
        ("WhatsApp/2.23.20.0", "WhatsApp"),
        ("curl/8.14.1", "curl"),
        ("Wget/1.25.0", "Wget"),
        ("python-requests/2.32.5", "python-requests"),
        ("Go-http-client/2.0", "Go-http-client"),
        ("Java/21.0.5", "Java"),
        // On no list.
        ("Mozilla/5.0 (compatible; Weltraumbot/0.1)", "Weltraumbot"),
        ("Weltraum/0.1 (+https://weltraum.example/about)", "Weltraum"),
        ("weltraum-crawler", "weltraum-crawler"),
    ] {
        let traits = describe_agent(&mut describer, user_agent);
        assert_eq!((traits.kind, &*traits.browser), (ClickKind::Bot, name), "{user_agent}");
        assert_eq!((&*traits.os, &*traits.device), ("(unknown)", "(unknown)"), "{user_agent}");
    }
}

#[test]
fn a_user_agent_that_says_nothing_is_that_of_a_bot() {
    let mut describer = describer();
    for user_agent in ["", "-", "Mozilla/5.0"] {
        let traits = describe_agent(&mut describer, user_agent);
        assert_eq!((traits.kind, &*traits.browser), (ClickKind::Bot, "(unknown)"), "{user_agent:?}");
    }
}

#[test]
fn names_from_user_agents_are_short_and_plain() {
    let mut describer = describer();
    let long = format!("{}bot/1.0 x", "a".repeat(200));
    assert_eq!(describe_agent(&mut describer, &long).browser.chars().count(), 100);
    let odd = describe_agent(&mut describer, "Weird\u{1}\u{7f}App\u{1b}[31m/1 CFNetwork/1.0 Darwin/1.0");
    assert!(!odd.browser.contains(char::is_control) && odd.browser.contains("Weird"), "{}", odd.browser);
}
