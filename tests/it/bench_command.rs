//! `calotype bench`.

use crate::command_line::{assert_ends, calotype, json_lines, text};
use crate::golden::fixtures;

#[test]
fn bench_measures_every_part_of_a_picture() {
    let home = tempfile::tempdir().unwrap();
    let model = fixtures().join("tiny-eps");
    let own = ["bench", "--model", model.to_str().unwrap(), "--width", "64", "--height", "128", "--steps", "3"];
    let output = calotype(home.path(), &[&own[..], &["--json", "--precision", "int8", "--threads", "1"]].concat());
    assert_ends(&output, 0, "");
    let [measured] = &json_lines(&output)[..] else { panic!("{}", text(&output.stdout)) };
    assert_eq!((&measured["event"], &measured["model"]), (&"measured".into(), &"tiny-eps".into()));
    assert_eq!((&measured["width"], &measured["height"]), (&64.into(), &128.into()));
    assert!(measured["computes_on"].as_str().unwrap().starts_with("CPU, 1 thread, int8"), "{measured}");
    let steps = measured["steps"].as_array().unwrap();
    assert_eq!((steps.len(), &steps[1]), (3, &measured["step"]), "the median of three");
    for key in ["loading", "prompts", "step", "decoding"] {
        assert!(measured[key].as_f64().unwrap() > 0.0, "{key} in {measured}");
    }
    assert!(measured["most_memory_bytes"].as_u64().is_none_or(|bytes| bytes > 1 << 20), "{measured}");
    let said = text(&calotype(home.path(), &own).stdout);
    assert!(said.starts_with("model      tiny-eps\n") && said.contains("so a picture of 20 steps takes"), "{said}");
    assert_ends(&calotype(home.path(), &["bench", "--width", "100"]), 2, "multiple of 8");
    assert!(std::fs::read_dir(home.path()).unwrap().flatten().all(|entry| entry.path().is_dir()), "a picture was kept");
}

/// What a step computes in is kept from step to step: no memory is fetched for it.
#[test]
#[cfg(target_os = "linux")]
fn steps_fetch_no_memory_once_they_run() {
    let home = tempfile::tempdir().unwrap();
    for more in [&["--precision", "f32"][..], &["--precision", "bf16"], &["--precision", "int8"]] {
        let output = calotype(home.path(), &[&["bench", "--steps", "7", "--json"][..], more].concat());
        assert_ends(&output, 0, "");
        let measured = json_lines(&output).remove(0);
        let faults = measured["page_faults_a_step"].as_u64().unwrap();
        // The middle of seven steps; a page has 4 KB, or 2 MB where memory is large.
        assert!(faults <= 16, "{more:?}: {measured}");
    }
}
