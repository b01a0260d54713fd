//! The closed sets by which requests are counted. No client can add a value to them.

use actix_web::http::Method;

/// Makes an enum whose variants have names and are numbered in their order.
macro_rules! closed_set {
    ($(#[$about:meta])* $set:ident { $($(#[$meaning:meta])* $variant:ident = $name:literal),+ $(,)? }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $set { $($(#[$meaning])* $variant),+ }

        impl $set {
            /// All of them, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Its name, as the value of a label.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }
        }
    };
}
pub(super) use closed_set;

closed_set! {
    /// What a request is for. Several routes may be one class.
    RouteClass {
        /// Following a code.
        Redirect = "redirect",
        /// The preview of a link.
        Preview = "preview",
        /// A QR code.
        Qr = "qr",
        /// Claiming one link.
        Claim = "claim",
        /// Claiming links in a batch.
        Batch = "batch",
        /// Listing links.
        List = "list",
        /// Reading a link or its history.
        Read = "read",
        /// Editing, deleting or reactivating a link.
        Change = "change",
        /// Statistics of clicks.
        Stats = "stats",
        /// Managing API keys.
        Keys = "keys",
        /// Managing blocks.
        Blocks = "blocks",
        /// Managing short domains.
        Domains = "domains",
        /// The documentation of the API.
        Docs = "docs",
        /// The front page and what crawlers and browsers ask for.
        Site = "site",
        /// Health checks.
        Health = "health",
        /// No route.
        Other = "other",
        /// Heads that the stream guard refused.
        Rejected = "rejected",
    }
}

impl RouteClass {
    /// The class of a route, by its pattern and the method; `None` means that no route fits.
    pub(crate) fn of(pattern: Option<&str>, method: &Method) -> Self {
        let Some(pattern) = pattern else {
            return Self::Other;
        };
        let Some(resource) = pattern.strip_prefix("/api/v1/") else {
            return Self::outside_of_the_api(pattern);
        };
        let only_reads = matches!(*method, Method::GET | Method::HEAD);
        match resource {
            "links" if only_reads => Self::List,
            "links" => Self::Claim,
            "links/batch" => Self::Batch,
            "links/{code}" | "links/{code}/history" if only_reads => Self::Read,
            "links/{code}" | "links/{code}/history" | "links/{code}/reactivate" => Self::Change,
            "links/{code}/qr" => Self::Qr,
            "links/{code}/stats" | "stats" | "stats/top" | "stats/orphans" => Self::Stats,
            "keys" | "keys/{id}" => Self::Keys,
            "blocks" | "blocks/{id}" => Self::Blocks,
            "domains" | "domains/{host}" => Self::Domains,
            _ => Self::Other,
        }
    }

    fn outside_of_the_api(pattern: &str) -> Self {
        match pattern {
            "/{code}" => Self::Redirect,
            "/{code}+" => Self::Preview,
            "/{code}.qr" => Self::Qr,
            "/livez" | "/readyz" | "/health" => Self::Health,
            "/openapi.json" | "/docs" | "/docs/errors" | "/docs/assets/{file}" => Self::Docs,
            "/" | "/robots.txt" | "/favicon.ico" | "/.well-known/{file}" => Self::Site,
            _ => Self::Other,
        }
    }
}

closed_set! {
    /// The method of a request, as the OpenTelemetry semantic conventions name it.
    MethodClass {
        /// `GET`.
        Get = "GET",
        /// `HEAD`.
        Head = "HEAD",
        /// `POST`.
        Post = "POST",
        /// `PUT`.
        Put = "PUT",
        /// `PATCH`.
        Patch = "PATCH",
        /// `DELETE`.
        Delete = "DELETE",
        /// `OPTIONS`.
        Options = "OPTIONS",
        /// Any other method.
        Other = "_OTHER",
    }
}

impl MethodClass {
    pub(crate) fn of(method: &Method) -> Self {
        match *method {
            Method::GET => Self::Get,
            Method::HEAD => Self::Head,
            Method::POST => Self::Post,
            Method::PUT => Self::Put,
            Method::PATCH => Self::Patch,
            Method::DELETE => Self::Delete,
            Method::OPTIONS => Self::Options,
            _ => Self::Other,
        }
    }
}

closed_set! {
    /// How a request was answered.
    StatusClass {
        /// A success.
        Success = "2xx",
        /// A redirection.
        Redirection = "3xx",
        /// The request was refused.
        ClientError = "4xx",
        /// The request failed.
        ServerError = "5xx",
        /// The client disconnected before there was an answer.
        Aborted = "aborted",
    }
}

impl StatusClass {
    /// The class of a status; `None` means that there was no answer.
    pub(crate) fn of(status: Option<u16>) -> Self {
        match status {
            None => Self::Aborted,
            Some(..300) => Self::Success,
            Some(300..400) => Self::Redirection,
            Some(400..500) => Self::ClientError,
            Some(500..) => Self::ServerError,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::openapi::{document, route_table};

    #[test]
    fn every_route_has_a_class() {
        let table = route_table(&mut document());
        for template in table.templates() {
            let path = template.join("/");
            for method in [Method::GET, Method::POST] {
                assert_ne!(RouteClass::of(Some(&path), &method), RouteClass::Other, "{path}");
            }
        }
    }

    #[test]
    fn members_are_numbered_in_their_order_and_names_are_unique() {
        assert!(RouteClass::ALL.iter().enumerate().all(|(number, class)| *class as usize == number));
        assert!(MethodClass::ALL.iter().enumerate().all(|(number, class)| *class as usize == number));
        assert!(StatusClass::ALL.iter().enumerate().all(|(number, class)| *class as usize == number));
        let names: std::collections::BTreeSet<_> = RouteClass::ALL.iter().map(|class| class.name()).collect();
        assert_eq!(names.len(), RouteClass::ALL.len());
    }

    #[test]
    fn unknown_methods_are_one_class() {
        let made_up = Method::from_bytes(b"BREW").expect("a token");
        assert_eq!(MethodClass::of(&made_up), MethodClass::Other);
        assert_eq!(MethodClass::of(&Method::TRACE).name(), "_OTHER");
    }
}
