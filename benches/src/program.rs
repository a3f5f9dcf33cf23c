//! The server's program as a process, with the drawn demo faces and the built-in weights.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// How long it may take to end after it was told to.
const END: Duration = Duration::from_secs(30);

/// A server that dies with this.
#[derive(Debug)]
pub struct Server {
    program: Child,
    address: String,
    metrics: String,
}

impl Server {
    /// Starts it at an address, whose port may be 0 for any, with further flags, and waits until it serves.
    /// Without a path it is the program beside this one.
    ///
    /// # Errors
    /// A program that isn't there or doesn't say where it listens.
    pub fn start(program: Option<&Path>, address: &str, flags: &[&str]) -> Result<Self, Box<dyn std::error::Error>> {
        let beside = std::env::current_exe()?.with_file_name("lookalike-server");
        let path = program.unwrap_or(&beside);
        let mut program = Command::new(path)
            .args(["serve", "--json", "--data", "demo"])
            .args(["--listen", address, "--metrics", "127.0.0.1:0", "--quiet"])
            .args(flags)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot start {}: {error}; build it, or name it with --server", path.display()))?;
        let mut ready = String::new();
        let stdout = program.stdout.take().ok_or("the server has no standard output: this is a bug")?;
        let mut server = Self { program, address: String::new(), metrics: String::new() };
        BufReader::new(stdout).read_line(&mut ready)?;
        let ready: serde_json::Value = serde_json::from_str(&ready)
            .map_err(|_| format!("expected {} to say where it listens, found {ready:?}", path.display()))?;
        let word = |key: &str| ready[key].as_str().or_else(|| ready[key][0].as_str()).map(str::to_owned);
        server.address = word("listen").ok_or("expected an address of the server, found none")?;
        server.metrics = word("metrics").unwrap_or_default();
        Ok(server)
    }

    /// As clients name it.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Host and port.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The sum of a metric over all its labels.
    ///
    /// # Errors
    /// A page that can't be read.
    pub fn metric(&self, name: &str) -> Result<f64, Box<dyn std::error::Error>> {
        let mut connection = TcpStream::connect(&self.metrics)?;
        write!(connection, "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut page = String::new();
        connection.read_to_string(&mut page)?;
        let of = |line: &str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
        let value = |line: &str| line.rsplit_once(' ').and_then(|(_, value)| value.parse::<f64>().ok());
        Ok(page.lines().filter(|line| of(line)).filter_map(value).sum())
    }

    /// Ends it without a chance to say anything.
    ///
    /// # Errors
    /// A process that can't be waited for.
    pub fn kill(mut self) -> Result<(), Box<dyn std::error::Error>> {
        self.program.kill()?;
        self.program.wait()?;
        Ok(())
    }

    /// Memory that it holds at this moment.
    ///
    /// # Errors
    /// When it has ended.
    pub fn resident_bytes(&self) -> Result<u64, Box<dyn std::error::Error>> {
        let path = format!("/proc/{}/status", self.program.id());
        let status = std::fs::read_to_string(&path).map_err(|error| format!("cannot read {path}: {error}"))?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
        let kibibytes: u64 = resident.ok_or("the server has ended before its time")?.trim().parse()?;
        Ok(kibibytes * 1024)
    }

    /// Ends it as a supervisor would; it must end well.
    ///
    /// # Errors
    /// When it doesn't, or not in time.
    pub fn stop(mut self) -> Result<(), Box<dyn std::error::Error>> {
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
