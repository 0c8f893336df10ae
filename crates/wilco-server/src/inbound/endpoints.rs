//! The sources by path, and the settings that they share.

use std::{collections::HashMap, sync::Arc};

use http::Method;
use ipnet::IpNet;
use wilco::{Key, Secret};

use crate::config;

/// The sources by path, and the settings they share. A reload replaces them together.
pub(crate) struct Endpoints {
    pub(super) sources: HashMap<String, Arc<config::Source>>,
    pub(super) trusted_proxies: Vec<IpNet>,
    pub(super) proxy_protocol: bool,
    pub(super) http2: bool,
    pub(super) max_body: usize,
    health_path: Option<String>,
}

impl Endpoints {
    pub(crate) fn new(listen: &config::Listen, sources: &[config::Source]) -> Self {
        let by_path = sources.iter().cloned().map(|mut source| {
            // A secret may have been learned since the configuration was read.
            if let Err(why) = source.read_learned() {
                tracing::warn!(source = source.name.as_str(), "{why}");
            }
            (source.path.clone(), Arc::new(source))
        });
        Self {
            sources: by_path.collect(),
            trusted_proxies: listen.trusted_proxies.clone(),
            proxy_protocol: listen.proxy_protocol,
            http2: listen.http2,
            max_body: listen.max_body,
            health_path: listen.health_path.clone(),
        }
    }

    /// The same, with a secret that the provider of this source brought.
    pub(super) fn with_secret(&self, learner: &config::Source, secret: &Secret, key: &Key) -> Self {
        let sources = self.sources.iter().map(|(path, source)| {
            let mut source = Arc::clone(source);
            if source.name == learner.name && source.learned_secret == learner.learned_secret {
                Arc::make_mut(&mut source).learn(secret.clone(), key.clone());
            }
            (path.clone(), source)
        });
        Self {
            sources: sources.collect(),
            trusted_proxies: self.trusted_proxies.clone(),
            proxy_protocol: self.proxy_protocol,
            http2: self.http2,
            max_body: self.max_body,
            health_path: self.health_path.clone(),
        }
    }

    /// Whether this is a health check, such as a load balancer makes. One has no body.
    pub(super) fn is_health_check(&self, method: &Method, path: &str, has_body: bool) -> bool {
        let is_path = self.health_path.as_deref() == Some(path);
        is_path && !has_body && matches!(*method, Method::GET | Method::HEAD)
    }
}
