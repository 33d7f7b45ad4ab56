//! `--otlp`: what a collector gets, decoded by the official classes.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use crate::outside::Place;
use serde_json::Value;

/// The interpreter of an environment with the official classes, made once for this target directory; `None` where it
/// cannot be made.
fn python() -> Option<PathBuf> {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("otlp-venv");
    let python = home.join("bin/python");
    let quiet = |command: &mut Command| {
        let ran = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
        ran.is_ok_and(|status| status.success())
    };
    let has = || {
        quiet(Command::new(&python).args(["-c", "import opentelemetry.proto.collector.metrics.v1.metrics_service_pb2"]))
    };
    let made = has()
        || quiet(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&home))
            && quiet(Command::new(&python).args(["-m", "pip", "install", "--quiet", "opentelemetry-proto"]))
            && has();
    made.then_some(python)
}

/// A receiver that listens, its port, and what it says.
fn receiver(python: &Path) -> (Child, u16, BufReader<ChildStdout>) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/receiver.py");
    let mut child = Command::new(python).arg(script).stdout(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut port = String::new();
    out.read_line(&mut port).unwrap();
    (child, port.trim().parse().unwrap(), out)
}

fn metric<'a>(message: &'a Value, name: &str) -> &'a Value {
    let metrics = message["resourceMetrics"][0]["scopeMetrics"][0]["metrics"].as_array().unwrap();
    metrics.iter().find(|metric| metric["name"] == name).unwrap_or_else(|| panic!("no {name} in {message}"))
}

fn point(points: &Value, label: &str) -> String {
    let points = points["dataPoints"].as_array().unwrap();
    let point = points.iter().find(|point| point["attributes"][0]["value"]["stringValue"] == label);
    point.unwrap_or_else(|| panic!("no {label} in {points:?}"))["asInt"].as_str().unwrap().to_owned()
}

#[test]
fn a_collector_gets_what_was_counted() {
    let Some(python) = python() else {
        println!("left out: there is no python3 with pip that gets opentelemetry-proto (1 check)");
        return;
    };
    let place = Place::with_store();
    place.file("a", "1");
    place.file("x.part", "1");
    place.larder(&["add", "a"]).exits(0);
    let (mut child, port, mut out) = receiver(&python);
    let endpoint = format!("http://127.0.0.1:{port}");
    let finalise = ["finalise", "x.part", "--artifact", "x", "--url", "https://e.org/x", "--resolver", "unpaywall"];
    place.json(&[&finalise[..], &["--otlp", &endpoint, "--metrics-namespace", "contentdownload"]].concat()).exits(0);
    let mut text = String::new();
    out.read_to_string(&mut text).unwrap();
    assert!(child.wait().unwrap().success());
    let message: Value = serde_json::from_str(text.trim()).unwrap();
    let service = &message["resourceMetrics"][0]["resource"]["attributes"];
    let of_service = |one: &Value| one["key"] == "service.name" && one["value"]["stringValue"] == "larder";
    assert!(service.as_array().unwrap().iter().any(of_service), "{service}");
    let dedup = &metric(&message, "contentdownload_dedup_hits_total")["sum"];
    assert_eq!((dedup["isMonotonic"].as_bool(), point(dedup, "unpaywall")), (Some(true), "1".to_owned()));
    assert_eq!(dedup["aggregationTemporality"], "AGGREGATION_TEMPORALITY_DELTA");
    assert_eq!(point(&metric(&message, "contentdownload_operations_total")["sum"], "register"), "1");
    assert_eq!(point(&metric(&message, "contentdownload_models_total")["gauge"], "active"), "1");
}

#[test]
fn a_collector_that_is_not_there_or_refuses_is_told_of() {
    let place = Place::with_store();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    let error = place.json(&["ls", "--otlp", &endpoint]).exits(1).event("error");
    assert!(error["message"].as_str().unwrap().contains("send metrics to"), "{error}");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let refusing = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = vec![0; 1 << 16];
        let _ = stream.read(&mut request).unwrap();
        stream.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n").unwrap();
    });
    place.file("a", "1");
    let ran = place.json(&["add", "a", "--otlp", &endpoint]).exits(1);
    assert_eq!(ran.events("added").len(), 1, "what was asked for is done all the same");
    refusing.join().unwrap();
    place.json(&["ls", "--otlp", "https://localhost"]).exits(2);
}
