//! What a process needs of clicks, put together: the spool, the describer, the salts.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use adapter_enrich::{Describer, DescriberOptions};
use adapter_http::ClickServices;
use adapter_spool::{Spool, SpoolOptions};
use anyhow::Context;
use domain::{
    click::{DailySalts, OrphanCounters},
    ports::{ClickRecorder, ClickRecorders, ClickRepository, Clock},
    service::StatisticsService,
};
use slog::{Logger, warn};
use url::Url;
use uuid::{Builder, Uuid};

use super::{progress::Progress, shipped::SharedTotals};
use crate::{
    config::Config,
    effects::{SystemClock, SystemEntropy},
};

/// What a server needs of clicks.
#[derive(Clone)]
pub(crate) struct Clicks {
    /// `None` if clicks are not recorded.
    pub(crate) spool: Option<Spool>,
    pub(crate) repository: Arc<dyn ClickRepository>,
    /// `None` if clicks are not recorded.
    pub(crate) describer: Option<Arc<Mutex<Describer>>>,
    pub(crate) salts: DailySalts,
    pub(crate) orphans: OrphanCounters,
    pub(crate) progress: Progress,
    pub(crate) shipped: SharedTotals,
    keep_hours: u32,
}

impl Clicks {
    /// Opens the spool. If that fails, clicks are not recorded, which is logged: redirects matter more. Fails if a file
    /// of the operator cannot be used.
    pub(crate) fn open(config: &Config, repository: Arc<dyn ClickRepository>, log: &Logger) -> anyhow::Result<Self> {
        let without = Self::without_spool(config, repository);
        if !config.clicks.enabled {
            return Ok(without);
        }
        let describer = describer(config)?;
        Ok(match open_spool(config, log) {
            Some(spool) => without.with_spool(spool, describer),
            None => without,
        })
    }

    /// Clicks of a process that records none.
    pub(crate) fn without_spool(config: &Config, repository: Arc<dyn ClickRepository>) -> Self {
        Self {
            progress: Progress::new(false),
            shipped: SharedTotals::default(),
            spool: None,
            repository,
            describer: None,
            salts: DailySalts::default(),
            orphans: OrphanCounters::default(),
            keep_hours: config.clicks.keep_hours,
        }
    }

    /// The same with a spool.
    pub(crate) fn with_spool(self, spool: Spool, describer: Describer) -> Self {
        let describer = Some(Arc::new(Mutex::new(describer)));
        Self { progress: Progress::new(true), spool: Some(spool), describer, ..self }
    }

    /// The services for the routes.
    pub(crate) fn services(&self) -> ClickServices {
        ClickServices {
            recorders: Arc::new(Recorders(self.spool.clone())),
            salts: self.salts.clone(),
            orphans: self.orphans.clone(),
            statistics: self.statistics(),
        }
    }

    /// The service for statistics.
    pub(super) fn statistics(&self) -> StatisticsService {
        let (repository, progress) = (self.repository.clone(), Arc::new(self.progress.clone()));
        StatisticsService::new(repository, progress, Arc::new(SystemClock), self.keep_hours)
    }
}

/// The folder of the spool.
pub(crate) fn folder(data_dir: &Path) -> PathBuf {
    data_dir.join("clicks")
}

/// How the spool of this configuration is opened.
pub(crate) fn spool_options(config: &Config) -> SpoolOptions {
    SpoolOptions {
        mode: config.clicks.spool,
        limit: config.clicks.spool_limit,
        ..SpoolOptions::new(folder(&config.data_dir))
    }
}

fn open_spool(config: &Config, log: &Logger) -> Option<Spool> {
    match Spool::open(spool_options(config), new_stream_id) {
        Ok(spool) => Some(spool),
        Err(error) => {
            let error = anyhow::Error::from(error);
            warn!(log, "clicks are not counted: {}", error; "event.name" => "clicks.disabled",
                "error.message" => format!("{error:#}"));
            None
        }
    }
}

/// Looks up what clicks tell. Fails if a file of the operator cannot be used.
pub(crate) fn describer(config: &Config) -> anyhow::Result<Describer> {
    let public = Url::parse(&config.public_url).context("public_url")?;
    let own = config.targets.own_hosts.iter().cloned();
    let options = DescriberOptions {
        bots_file: config.clicks.bots_file.clone(),
        geo_database: config.clicks.geo_database.clone(),
        own_hosts: own.chain(public.host_str().map(str::to_owned)).collect(),
    };
    Describer::new(options).context("clicks")
}

/// A UUID of version 7, so that streams sort by age.
pub(crate) fn new_stream_id() -> Uuid {
    let mut random = [0; 10];
    domain::ports::Entropy::fill(&SystemEntropy, &mut random);
    Builder::from_unix_timestamp_millis(SystemClock.now().unix_millis(), &random).into_uuid()
}

/// The recorders of the workers, if clicks are recorded.
struct Recorders(Option<Spool>);

impl ClickRecorders for Recorders {
    fn recorder(&self) -> Option<Box<dyn ClickRecorder>> {
        self.0.as_ref().and_then(ClickRecorders::recorder)
    }
}
