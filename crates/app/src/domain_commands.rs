//! The commands on short domains: `signpost domains`.

use std::sync::Arc;

use anyhow::{Context, bail};
use domain::{
    address::DomainId,
    behaviour::RedirectStatus,
    service::{DomainError, DomainService},
    short_domain::{DomainHost, DomainSettings, RobotsRule, ShortDomain},
    target::{Target, TargetPolicy},
};
use url::Url;

use crate::{
    cli::{DomainArguments, DomainsAction, tell},
    config::Config,
    operator::operator_call,
    stores::{Backend, Store},
    unreadable::NotedRows,
};

/// Runs an action on short domains.
pub(crate) async fn domains(config: &Config, action: DomainsAction) -> anyhow::Result<()> {
    let backend = Backend::of(&config.store, &tokio::runtime::Handle::current())?;
    backend.must_be_migrated().await?;
    let store = backend.open(Arc::<NotedRows>::default())?;
    let domains = store.domain_service();
    match action {
        DomainsAction::Add { host, settings } => {
            let host: DomainHost = host.parse().with_context(|| host.clone())?;
            if public_host(config).is_some_and(|public| public == host) {
                bail!("public_url names {host}: it is the default short domain");
            }
            let edit = edit_of(&settings)?;
            refuse_own_pages(&edit(&DomainSettings::default()), host.as_str(), &domains, config).await?;
            let call = operator_call(&domain::link::Owner::default());
            let domain = match domains.add(&call, host.clone(), edit(&DomainSettings::default())).await {
                Err(DomainError::Taken) => bail!("the short domain {host} exists"),
                added => added?,
            };
            tell(&format!("added {}", line(&domain)))
        }
        DomainsAction::List => {
            tell("NUMBER  HOST  LINKS  REDIRECT  ROBOTS  PAGES")?;
            for domain in domains.all().await?.iter() {
                tell(&line(domain))?;
            }
            Ok(())
        }
        DomainsAction::Edit { host, settings } => {
            let id = if host == DEFAULT { DomainId::DEFAULT } else { find(&domains, &host).await? };
            let edit = edit_of(&settings)?;
            let unset = DomainSettings::default();
            refuse_own_pages(&edit(&unset), "", &domains, config).await?;
            tell(&format!("changed {}", line(&*domains.edit(id, edit).await?)))
        }
        DomainsAction::Remove { host } => match domains.remove(find(&domains, &host).await?).await {
            Err(DomainError::HasLinks) => bail!(
                "links live on {host}: `signpost domains edit {host} --accepts-links false` retires it, and its links go on"
            ),
            Err(DomainError::HasBlocks) => {
                bail!(
                    "codes on {host} are taken down: lift these blocks first, because they would not hold if it were added again"
                )
            }
            removed => {
                removed?;
                tell(&format!("removed {host}"))
            }
        },
    }
}

/// The host of the public URL, in the form in which short domains have theirs.
pub(crate) fn public_host(config: &Config) -> Option<DomainHost> {
    Url::parse(&config.public_url).ok()?.host_str()?.parse().ok()
}

/// Fails if one of these pages is on a short domain: it would be looked up as a code again. `new` is the host of the
/// short domain to add.
async fn refuse_own_pages(
    settings: &DomainSettings,
    new: &str,
    domains: &DomainService,
    config: &Config,
) -> anyhow::Result<()> {
    let (all, public) = (domains.all().await?, public_host(config));
    for (name, page) in settings.pages() {
        let host = page.host();
        let is_own = all.at(&host).is_some() || host == new;
        if is_own || public.as_ref().is_some_and(|public| public.as_str() == host) {
            bail!("{name} is on the short domain {host}: give it an address that Signpost does not serve");
        }
    }
    Ok(())
}

/// The name of the default short domain on the command line.
const DEFAULT: &str = "default";

/// The short domain that an argument names; the default one without it.
pub(crate) async fn named_domain(store: &Store, host: Option<&str>) -> anyhow::Result<DomainId> {
    match host {
        None | Some(DEFAULT) => Ok(DomainId::DEFAULT),
        Some(host) => find(&store.domain_service(), host).await,
    }
}

async fn find(domains: &DomainService, host: &str) -> anyhow::Result<DomainId> {
    let name: DomainHost = host.parse().with_context(|| host.to_owned())?;
    let found = domains.find(&name).await?;
    Ok(found.with_context(|| format!("there is no short domain {host}: see `signpost domains list`"))?.id)
}

fn line(domain: &ShortDomain) -> String {
    let ShortDomain { id, host, settings, .. } = domain;
    let host = host.as_ref().map_or(DEFAULT, |host| host.as_str());
    let links = if settings.accepts_links { "accepted" } else { "retired" };
    let redirect = settings.redirect.map_or_else(|| "-".to_owned(), |status| status.as_u16().to_string());
    let pages: Vec<_> = settings.pages().map(|(name, url)| format!("{name}: {url}")).collect();
    format!("{id}  {host}  {links}  {redirect}  {}  {}", settings.robots.name(), pages.join(", "))
}

/// The edit that the arguments ask for.
fn edit_of(arguments: &DomainArguments) -> anyhow::Result<impl Fn(&DomainSettings) -> DomainSettings + use<>> {
    let page = |text: &Option<String>, flag: &'static str| match text.as_deref() {
        None => Ok(None),
        Some("") => Ok(Some(None)),
        Some(text) => Target::parse(text, &TargetPolicy::new(true, &[])).map(|url| Some(Some(url))).context(flag),
    };
    let landing_url = page(&arguments.landing_url, "--landing-url")?;
    let not_found_url = page(&arguments.not_found_url, "--not-found-url")?;
    let gone_url = page(&arguments.gone_url, "--gone-url")?;
    let blocked_url = page(&arguments.blocked_url, "--blocked-url")?;
    let redirect = match arguments.redirect.as_deref() {
        None => None,
        Some("") => Some(None),
        Some(text) => {
            let status = RedirectStatus::try_from(text.parse::<u16>().unwrap_or_default());
            Some(Some(status.context("--redirect")?))
        }
    };
    let robots: Option<RobotsRule> = arguments.robots.as_deref().map(str::parse).transpose().context("--robots")?;
    let accepts_links = arguments.accepts_links;
    Ok(move |before: &DomainSettings| DomainSettings {
        landing_url: landing_url.clone().unwrap_or_else(|| before.landing_url.clone()),
        not_found_url: not_found_url.clone().unwrap_or_else(|| before.not_found_url.clone()),
        gone_url: gone_url.clone().unwrap_or_else(|| before.gone_url.clone()),
        blocked_url: blocked_url.clone().unwrap_or_else(|| before.blocked_url.clone()),
        redirect: redirect.unwrap_or(before.redirect),
        robots: robots.unwrap_or(before.robots),
        accepts_links: accepts_links.unwrap_or(before.accepts_links),
    })
}
