//! `--otlp`: what the program counted, sent to an OpenTelemetry collector over HTTP.

use anyhow::Result;

use super::metrics::Tally;

/// Reads where a collector listens.
pub(crate) fn endpoint(text: &str) -> std::result::Result<String, String> {
    let rest =
        text.strip_prefix("http://").ok_or("it is no http:// URL: a collector beside the program takes those")?;
    match rest.split_once('/') {
        _ if rest.is_empty() || rest.starts_with('/') => Err("it has no host".to_owned()),
        _ if rest.contains(['@', '?', '#', ' ']) => Err("it is a host, a port and a path, and nothing else".to_owned()),
        None | Some((_, "")) => Ok(format!("{}/v1/metrics", text.trim_end_matches('/'))),
        Some(_) => Ok(text.to_owned()),
    }
}

/// Refuses what this program was built without.
#[cfg(not(feature = "otel"))]
pub(crate) fn send(endpoint: &str, _: &str, _: &Tally) -> Result<()> {
    let attempt = format!("send metrics to {endpoint}");
    let reason = "this program is built without the feature `otel`";
    Err(larder::Error::new(larder::ErrorKind::Unsupported, attempt, reason).into())
}

/// Sends what was counted, and comes back when it is there. Counters are told as what this command added.
#[cfg(feature = "otel")]
pub(crate) fn send(endpoint: &str, namespace: &str, tally: &Tally) -> Result<()> {
    built_in::send(endpoint, namespace, tally)
}

#[cfg(feature = "otel")]
mod built_in {
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::time::Duration;

    use anyhow::{Context as _, Result};
    use async_trait::async_trait;
    use larder::otel::OtelRecorder;
    use larder::{Instrument, Recorder};
    use opentelemetry::metrics::MeterProvider;
    use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
    use opentelemetry_otlp::{MetricExporter, Protocol, WithExportConfig, WithHttpConfig};
    use opentelemetry_sdk::Resource;
    use opentelemetry_sdk::metrics::{SdkMeterProvider, Temporality};

    use super::Tally;

    /// How long a collector may take to answer.
    const PATIENCE: Duration = Duration::from_secs(10);
    /// Longest answer that is read.
    const ANSWER_BYTES: u64 = 64 << 10;

    pub(super) fn send(endpoint: &str, namespace: &str, tally: &Tally) -> Result<()> {
        let attempt = || format!("cannot send metrics to {endpoint}");
        let exporter = MetricExporter::builder()
            .with_http()
            .with_http_client(Plain)
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(endpoint)
            .with_timeout(PATIENCE)
            .with_temporality(Temporality::Delta)
            .build()
            .with_context(attempt)?;
        let resource = Resource::builder().with_service_name("larder").build();
        let provider = SdkMeterProvider::builder().with_periodic_exporter(exporter).with_resource(resource).build();
        let recorder = OtelRecorder::new(&provider.meter("larder"), namespace);
        let counts = tally.counts();
        for instrument in Instrument::ALL {
            for (label, value) in counts.of(instrument) {
                if instrument.is_gauge() {
                    recorder.gauge(instrument, label, value);
                } else {
                    recorder.count(instrument, label, value);
                }
            }
        }
        let sent = provider.force_flush().with_context(attempt);
        // What is not sent is not sent later either.
        let _ = provider.shutdown();
        sent
    }

    /// The little of HTTP that it takes: one request to one server, without TLS.
    #[derive(Debug)]
    struct Plain;

    #[async_trait]
    impl HttpClient for Plain {
        async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
            post(&request)
        }
    }

    fn post(request: &Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let uri = request.uri();
        let host = uri.host().ok_or("the URL has no host")?;
        let mut stream = TcpStream::connect((host.trim_matches(['[', ']']), uri.port_u16().unwrap_or(80)))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let authority = uri.authority().map_or(host, |authority| authority.as_str());
        let mut head = format!("POST {} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n", uri.path());
        for (name, value) in request.headers() {
            head.push_str(&format!("{name}: {}\r\n", value.to_str()?));
        }
        head.push_str(&format!("Content-Length: {}\r\n\r\n", request.body().len()));
        stream.write_all(head.as_bytes())?;
        stream.write_all(request.body())?;
        let mut answer = Vec::new();
        stream.take(ANSWER_BYTES).read_to_end(&mut answer)?;
        let text = String::from_utf8_lossy(&answer);
        let status: u16 = text.split(' ').nth(1).ok_or("the answer is no HTTP")?.parse()?;
        let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body).to_owned();
        Ok(Response::builder().status(status).body(Bytes::from(body))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_host_and_perhaps_a_path() {
        assert_eq!(endpoint("http://127.0.0.1:4318").unwrap(), "http://127.0.0.1:4318/v1/metrics");
        assert_eq!(endpoint("http://h/").unwrap(), "http://h/v1/metrics");
        assert_eq!(endpoint("http://h/otlp/v1/metrics").unwrap(), "http://h/otlp/v1/metrics");
        for bad in ["https://h", "h:4318", "http://", "http:///x", "http://u:p@h", "http://h/?token=x"] {
            assert!(endpoint(bad).is_err(), "{bad}");
        }
    }
}
