//! The server's program, on a free port, with the drawn demo faces and the built-in weights.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// How long it may take to end after it was told to.
const END: Duration = Duration::from_secs(30);

/// A server that dies with this.
pub(crate) struct Server {
    program: Child,
    url: String,
}

impl Server {
    /// Starts it, with room for so many trainers, and waits until it serves.
    pub(crate) fn start(program: Option<&Path>, trainers: usize) -> Result<Self, Box<dyn std::error::Error>> {
        let beside = std::env::current_exe()?.with_file_name("lookalike-server");
        let path = program.unwrap_or(&beside);
        let mut program = Command::new(path)
            .args(["serve", "--json", "--data", "demo"])
            .args(["--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0"])
            .args(["--max-streams", &trainers.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot start {}: {error}; build it, or name it with --server", path.display()))?;
        let mut ready = String::new();
        let stdout = program.stdout.take().ok_or("the server has no standard output: this is a bug")?;
        let mut server = Self { program, url: String::new() };
        BufReader::new(stdout).read_line(&mut ready)?;
        let ready: serde_json::Value = serde_json::from_str(&ready)
            .map_err(|_| format!("expected {} to say where it listens, found {ready:?}", path.display()))?;
        let address = ready["listen"].as_str().or_else(|| ready["listen"][0].as_str());
        server.url = format!("http://{}", address.ok_or("expected an address of the server, found none")?);
        Ok(server)
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Memory that it holds at this moment.
    pub(crate) fn resident_bytes(&self) -> Result<u64, Box<dyn std::error::Error>> {
        let path = format!("/proc/{}/status", self.program.id());
        let status = std::fs::read_to_string(&path).map_err(|error| format!("cannot read {path}: {error}"))?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
        let kibibytes: u64 = resident.ok_or("the server has ended before its time")?.trim().parse()?;
        Ok(kibibytes * 1024)
    }

    /// Ends it as a supervisor would; it must end well.
    pub(crate) fn stop(mut self) -> Result<(), Box<dyn std::error::Error>> {
        Command::new("kill").arg(self.program.id().to_string()).status()?;
        let told = Instant::now();
        while told.elapsed() < END {
            match self.program.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => return Err(format!("expected the server to end well, found {status}").into()),
                None => std::thread::sleep(Duration::from_millis(50)),
            }
        }
        Err("expected the server to end within 30 seconds of SIGTERM, found it running".into())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already, and then there is nothing to kill.
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}
