use super::*;

#[test]
fn a_probe_ends_after_its_time_or_its_last_request() {
    let freispace = || {
        let secret = Secret::new("test", b"a-made-up-secret".to_vec()).unwrap();
        config::Source::new("freispace", "/webhook", None, vec![secret]).unwrap()
    };
    let now = clock::now();
    let past = |seconds: i64| now + SignedDuration::from_secs(seconds);
    for (requests, seconds, expected) in [
        (0, 0, true),
        (0, 119, true),
        (0, 120, false),
        (PROBE_REQUESTS_MAX - 1, 0, true),
        (PROBE_REQUESTS_MAX, 0, false),
    ] {
        let (signer, secret, key) = signer(&freispace(), false).unwrap();
        let opened = OpenProbe {
            id: "id".into(),
            source: SourceName::new("freispace").unwrap(),
            path: "/webhook".into(),
            public_url: None,
            provider: "freispace".into(),
            signer: signer.name.clone(),
            secret,
            max_body: 1,
            ends_at: now + PROBE_DURATION,
        };
        let (requests_left, latest) = (PROBE_REQUESTS_MAX, Vec::new());
        let probe = Probe { opened, signer, key, requests_left, requests: latest };
        let probes = Probes::default();
        let mut headers = HeaderMap::new();
        headers.insert(PROBE_HEADER, "id".parse().unwrap());
        assert!(probes.admit(&headers, || now).is_none());
        probes.open(probe).unwrap();
        for _ in 0..requests {
            assert!(probes.admit(&headers, || now).is_some());
        }
        let is_admitted = probes.admit(&headers, || past(seconds)).is_some();
        assert_eq!(is_admitted, expected, "{requests} requests, {seconds} s");
        headers.insert(PROBE_HEADER, "other".parse().unwrap());
        assert!(probes.admit(&headers, || now).is_none());
    }
}

#[test]
fn requests_are_signed_as_the_provider_does_unless_it_has_a_private_key() {
    let mut own = 0;
    for provider in provider::all() {
        let source = config::Source::new("freispace", "/webhook", None, Vec::new()).unwrap();
        let source = config::Source { provider: Arc::clone(provider), ..source };
        let (signer, ..) = signer(&source, false).unwrap();
        let is_public = provider.description().secret == "pem"
            || provider.scheme.algorithm() == wilco::Algorithm::Ed25519;
        assert!(!is_public || signer.name == "standard-webhooks", "{}", provider.name);
        own += usize::from(signer.name == provider.name);
    }
    assert!(own > 100, "{own}");
}
