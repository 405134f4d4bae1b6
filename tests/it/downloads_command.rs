//! `calotype models download` as a user runs it, against a server on this machine.

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::command_line::{assert_ends, calotype, json_lines, text};
use crate::download_desk::{await_length, weights};
use crate::downloads_hub::{Repo, hub};
use crate::golden::fixtures;
use crate::loopback::{Reply, Server};

/// The program about to download, with a home of its own.
fn download(home: &Path, endpoint: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_calotype"));
    command.args(["models", "download"]).args(arguments).current_dir(home);
    for name in
        ["HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_TOKEN_PATH", "HF_HUB_OFFLINE", "XDG_CACHE_HOME"]
    {
        command.env_remove(name);
    }
    command.env("HOME", home).env("CALOTYPE_DATA", home.join("data")).env("HF_ENDPOINT", endpoint);
    command.env("HF_TOKEN", "hf_mine").env("NO_PROXY", "127.0.0.1,localhost").env("no_proxy", "127.0.0.1,localhost");
    command.env_remove("CALOTYPE_LOG").stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(home: &Path, endpoint: &str, arguments: &[&str]) -> Output {
    download(home, endpoint, arguments).output().unwrap()
}

/// A server whose first answer stops in the middle.
fn server_that_stops() -> Server {
    let is_first = AtomicBool::new(true);
    Server::start(move |request, _| {
        let reply = Reply::file(request, &weights(9000), "\"e\"");
        let stops = !request.is_first_look() && is_first.swap(false, Ordering::Relaxed);
        if stops { reply.silent_after(4000) } else { reply }
    })
}

fn interrupted(home: &Path, server: &Server, url: &str, end: impl FnOnce(&mut Child)) -> Output {
    let mut child = download(home, &server.origin(), &[url, "--to", "here"]).spawn().unwrap();
    await_length(&home.join("here/m.ckpt.part"), 4000);
    end(&mut child);
    child.wait_with_output().unwrap()
}

#[test]
fn a_model_comes_into_the_models_folder_and_its_path_is_printed() {
    let home = tempfile::tempdir().unwrap();
    let server = hub(Repo::model());
    let output = run(home.path(), &server.origin(), &["o/n", "--variant", "fp16"]);
    assert_ends(&output, 0, "");
    let path = home.path().join("data/models/o--n");
    assert_eq!(text(&output.stdout).trim(), path.to_str().unwrap());
    assert!(path.join("unet/diffusion_pytorch_model.fp16.safetensors").is_file());
    assert!(server.requests().iter().all(|request| request.header("authorization") == Some("Bearer hf_mine")));
}

#[test]
fn a_downloaded_model_draws() {
    let home = tempfile::tempdir().unwrap();
    let server = hub(Repo::of_folder(&fixtures().join("tiny-eps")));
    assert_ends(&run(home.path(), &server.origin(), &["o/n", "--to", "here"]), 0, "");
    let drawn = calotype(
        home.path(),
        &["generate", "--model", "here/o--n", "--steps", "2", "a red cat", "--output", "cat.png"],
    );
    assert_ends(&drawn, 0, "");
    assert!(home.path().join("cat.png").is_file());
}

#[test]
fn programs_are_told_line_by_line() {
    let home = tempfile::tempdir().unwrap();
    let server = hub(Repo::default().with("v1.ckpt", weights(9000)));
    let output = run(home.path(), &server.origin(), &["o/n", "--to", "here", "--json"]);
    assert_ends(&output, 0, "");
    let lines = json_lines(&output);
    let found = lines.iter().find(|line| line["event"] == "found").unwrap();
    assert_eq!((&found["name"], &found["files"], &found["total"]), (&"v1.ckpt".into(), &1.into(), &9000.into()));
    let last = lines.last().unwrap();
    assert_eq!(
        (&last["event"], &last["path"], &last["fetched"]),
        (&"finished".into(), &"here/v1.ckpt".into(), &9000.into())
    );
    let output = run(home.path(), &server.origin(), &["o/m", "--json"]);
    assert_ends(&output, 1, "no such repository");
    assert_eq!(json_lines(&output).last().unwrap()["event"], "failed");
}

#[test]
fn wrong_usage_is_told_before_anything_is_asked() {
    let home = tempfile::tempdir().unwrap();
    let server = hub(Repo::default());
    for (arguments, hint) in
        [(&["nothing"][..], "neither an id nor an address"), (&["o/n", "--sha256", "abc"], "64 digits")]
    {
        assert_ends(&run(home.path(), &server.origin(), arguments), 2, hint);
    }
    assert!(server.requests().is_empty());
}

#[test]
fn a_killed_download_is_gone_on_with() {
    let home = tempfile::tempdir().unwrap();
    let server = server_that_stops();
    let url = format!("{}/m.ckpt", server.origin());
    interrupted(home.path(), &server, &url, |child| child.kill().unwrap());
    let output = run(home.path(), &server.origin(), &[&url, "--to", "here", "--json"]);
    assert_ends(&output, 0, "");
    assert_eq!(json_lines(&output).last().unwrap()["fetched"], 5000);
    assert!(std::fs::read(home.path().join("here/m.ckpt")).unwrap() == weights(9000));
}

#[cfg(unix)]
#[test]
fn ctrl_c_says_that_the_next_run_goes_on() {
    let home = tempfile::tempdir().unwrap();
    let server = server_that_stops();
    let url = format!("{}/m.ckpt", server.origin());
    let output = interrupted(home.path(), &server, &url, |child| {
        let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    });
    assert_ends(&output, 130, "the same command goes on from there");
    let output = run(home.path(), &server.origin(), &[&url, "--to", "here"]);
    assert_ends(&output, 0, "");
    assert_eq!(text(&output.stdout).trim(), "here/m.ckpt");
}
