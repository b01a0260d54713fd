//! Desktop, mobile or tablet. The patterns of uap-core name models, not kinds of devices, so this follows the marks that
//! browsers put into their user agents.

/// The kind of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Device {
    Desktop,
    Mobile,
    Tablet,
}

const TELEVISIONS: [&str; 10] =
    ["TV", "BRAVIA", "AFT", "Roku", "CrKey", "PlayStation", "Xbox", "Nintendo", "Web0S", "VIDAA"];
const TABLETS: [&str; 8] = ["iPad", "Tablet", "PlayBook", "Kindle", "Silk/", "SM-T", "Nexus 7", "Nexus 10"];
const MOBILES: [&str; 15] = [
    "Mobi",
    "iPhone",
    "iPod",
    "Windows Phone",
    "IEMobile",
    "BlackBerry",
    "BB10",
    "Opera Mini",
    "Symbian",
    "SymbOS",
    "MIDP",
    "KAIOS",
    "KaiOS",
    "webOS/",
    "Nokia",
];
const DESKTOPS: [&str; 8] = ["Windows NT", "Windows 98", "Macintosh", "X11", "CrOS", "Linux x86_64", "Win64", "OS/2"];

impl Device {
    /// All kinds.
    pub(crate) const ALL: [Self; 3] = [Self::Desktop, Self::Mobile, Self::Tablet];

    /// The value of the dimension.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Desktop => "desktop",
            Self::Mobile => "mobile",
            Self::Tablet => "tablet",
        }
    }

    /// The kind that `user_agent` tells; `None` for televisions, consoles and what is not known.
    pub(crate) fn of(user_agent: &str) -> Option<Self> {
        let has = |mark: &&str| user_agent.contains(*mark);
        // Internet Explorer on Windows says "Tablet PC" if Windows could use a pen.
        let is_tablet = TABLETS.iter().any(has) && !user_agent.contains("Tablet PC");
        let is_mobile = MOBILES.iter().any(has);
        if TELEVISIONS.iter().any(has) && !is_mobile {
            None
        } else if is_tablet {
            Some(Self::Tablet)
        } else if is_mobile {
            Some(Self::Mobile)
        } else if user_agent.contains("Android") && user_agent.starts_with("Mozilla/") {
            // Browsers on Android say "Mobile" on phones only. Apps say nothing.
            Some(Self::Tablet)
        } else if DESKTOPS.iter().any(has) {
            Some(Self::Desktop)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_tell_the_kind_of_their_device() {
        for (user_agent, device) in [
            ("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/142.0.0.0", Some(Device::Desktop)),
            ("Mozilla/4.0 (compatible; MSIE 8.0; Windows NT 6.1; Tablet PC 2.0)", Some(Device::Desktop)),
            (
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 Safari/605.1",
                Some(Device::Desktop),
            ),
            ("Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) Chrome/142.0.0.0", Some(Device::Desktop)),
            ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_7 like Mac OS X) Mobile/15E148 Safari/604.1", Some(Device::Mobile)),
            ("Mozilla/5.0 (Linux; Android 10; K) Chrome/142.0.0.0 Mobile Safari/537.36", Some(Device::Mobile)),
            ("Opera/9.80 (J2ME/MIDP; Opera Mini/7.1.32052/29.3709; U; en) Presto/2.8.119", Some(Device::Mobile)),
            ("Mozilla/5.0 (Linux; Android 10; K) Chrome/142.0.0.0 Safari/537.36", Some(Device::Tablet)),
            ("Mozilla/5.0 (iPad; CPU OS 17_7 like Mac OS X) Mobile/15E148 Safari/604.1", Some(Device::Tablet)),
            ("Mozilla/5.0 (Android 14; Tablet; rv:132.0) Gecko/132.0 Firefox/132.0", Some(Device::Tablet)),
            ("Mozilla/5.0 (SMART-TV; Linux; Tizen 6.0) SamsungBrowser/3.0 TV Safari/537.36", None),
            ("VMVID Android Application (16, vmvid v2.2.2)", None),
            ("Mozilla/5.0 (PlayStation 5 3.03) AppleWebKit/605.1.15", None),
            ("", None),
        ] {
            assert_eq!(Device::of(user_agent), device, "{user_agent}");
        }
    }
}
