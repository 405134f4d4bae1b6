//! Switching models: the old one is freed before the new one is read, and nothing stays behind. Each test runs alone in
//! a process of its own, because memory is counted by process. Linux only.

use std::process::Command as Process;
use std::sync::Arc;

use calotype::inference::device::DeviceChoice;
use calotype::inference::message::{Command, Event, ModelOrder, ModelSource};
use calotype::request::Precision;
use calotype::worker::Worker;

use crate::golden::fixtures;

const MIB: u64 = 1 << 20;

/// Runs an ignored test of this file in a process of its own.
fn alone(name: &str) {
    let itself = std::env::current_exe().unwrap();
    let test = format!("switches::{name}");
    // glibc would keep an arena for every thread that ever freed something, however little.
    let out = Process::new(itself).args([&test, "--exact", "--ignored"]).env("MALLOC_ARENA_MAX", "1").output().unwrap();
    let said = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success() && said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&out.stderr));
}

/// A line of `/proc/self/status` in bytes.
fn memory(key: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
    line.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

fn engine() -> Worker<Command, Event> {
    calotype::inference::spawn(DeviceChoice::Cpu, Precision::F32, Arc::new(|| {})).unwrap()
}

fn switch(engine: &Worker<Command, Event>, source: ModelSource) {
    engine.send(Command::Load(ModelOrder { source, ..ModelOrder::default() })).unwrap();
    loop {
        match engine.next().unwrap() {
            Event::ModelReady { .. } => return,
            Event::ModelFailed { error, .. } => panic!("{error}"),
            _ => {}
        }
    }
}

fn tiny(name: &str) -> ModelSource {
    ModelSource::OnDisk(fixtures().join(name))
}

#[test]
#[cfg(target_os = "linux")]
fn a_hundred_switches_leave_nothing_behind() {
    alone("a_hundred_switches");
}

#[test]
#[ignore = "run by a_hundred_switches_leave_nothing_behind, alone in a process"]
fn a_hundred_switches() {
    let engine = engine();
    let sources = ["tiny-eps", "tiny-v", "tiny-xl"].map(tiny);
    let mut settled = 0;
    for (number, source) in sources.iter().cycle().take(120).enumerate() {
        switch(&engine, source.clone());
        if number == 20 {
            settled = memory("VmRSS");
        }
    }
    let end = memory("VmRSS");
    // The three are 1 MiB together: a model left behind at every switch would be 30 MiB.
    assert!(end < settled + 4 * MIB, "{} KiB after 20 switches, {} KiB after 120", settled / 1024, end / 1024);
}

#[test]
#[cfg(target_os = "linux")]
fn the_old_model_is_freed_before_the_new_one_is_read() {
    alone("peak_of_switches");
}

#[test]
#[ignore = "run by the_old_model_is_freed_before_the_new_one_is_read, alone in a process"]
fn peak_of_switches() {
    let engine = engine();
    let before = memory("VmRSS");
    switch(&engine, ModelSource::BuiltIn);
    let model = memory("VmRSS") - before;
    assert!(model > 50 * MIB, "{} MiB are too few to tell", model / MIB);
    let peak = memory("VmHWM");
    for _ in 0..3 {
        switch(&engine, ModelSource::BuiltIn);
    }
    let grown = memory("VmHWM") - peak;
    // Two models at once would be one more model.
    assert!(grown < model / 4, "the peak grew by {} MiB, a model is {} MiB", grown / MIB, model / MIB);
}

#[test]
#[ignore = "for models of any size: CALOTYPE_SWITCH_MODELS=a.safetensors:b, each loaded three times in turn"]
fn switches_of_named_models() {
    let named = std::env::var("CALOTYPE_SWITCH_MODELS").expect("CALOTYPE_SWITCH_MODELS names models");
    let engine = engine();
    let mut first = Vec::new();
    for round in 0..3 {
        for (index, path) in named.split(':').enumerate() {
            switch(&engine, ModelSource::OnDisk(path.into()));
            let (now, peak) = (memory("VmRSS"), memory("VmHWM"));
            eprintln!("round {round}: {path}: {} MiB, the most so far {} MiB", now / MIB, peak / MIB);
            match first.get(index) {
                None => first.push(now),
                Some(before) => assert!(now < before + before / 20, "{} MiB more", (now - before) / MIB),
            }
        }
    }
}
