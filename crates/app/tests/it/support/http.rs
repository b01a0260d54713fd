//! A blocking HTTP/1.1 client that sends exactly what it is given and shows every answer unchanged.

use std::{
    fmt,
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
};

use serde_json::Value;

use super::PATIENCE;

/// Sends the request on a new connection.
pub(crate) fn ask(address: SocketAddr, request: &Request) -> io::Result<Answer> {
    Connection::open(address)?.send(request)
}

/// Sends all requests at the same moment: first all but the last byte of each, then every last byte.
pub(crate) fn ask_together(requests: &[(SocketAddr, Request)]) -> Vec<io::Result<Answer>> {
    let begin = |(address, request): &(SocketAddr, Request)| {
        let bytes = request.to_bytes();
        let (last, others) = bytes.split_last().expect("no request is empty");
        let mut connection = Connection::open(*address)?;
        connection.write(others)?;
        io::Result::Ok((connection, *last))
    };
    let mut begun: Vec<_> = requests.iter().map(begin).collect();
    for (connection, last) in begun.iter_mut().flatten() {
        // If this fails, reading the answer fails too.
        let _told_below = connection.write(&[*last]);
    }
    let finish = |begun: io::Result<(Connection, u8)>| begun?.0.read()?.ok_or_else(no_answer);
    begun.into_iter().map(finish).collect()
}

/// A request, as it will be sent.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    method: String,
    target: String,
    host: Option<String>,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
}

impl Request {
    pub(crate) fn new(method: &str, target: &str) -> Self {
        Self { method: method.to_owned(), target: target.to_owned(), host: None, headers: Vec::new(), body: None }
    }

    pub(crate) fn method(&self) -> &str {
        &self.method
    }

    pub(crate) fn get(target: &str) -> Self {
        Self::new("GET", target)
    }

    pub(crate) fn head(target: &str) -> Self {
        Self::new("HEAD", target)
    }

    pub(crate) fn post(target: &str) -> Self {
        Self::new("POST", target)
    }

    /// For this host, as the browser of a visitor sends it.
    #[must_use]
    pub(crate) fn at(mut self, host: &str) -> Self {
        self.host = Some(host.to_owned());
        self
    }

    #[must_use]
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds an API key.
    #[must_use]
    pub(crate) fn key(self, key: &str) -> Self {
        self.header("Authorization", &format!("Bearer {key}"))
    }

    #[must_use]
    pub(crate) fn json(self, body: &Value) -> Self {
        self.header("Content-Type", "application/json").body(body.to_string())
    }

    #[must_use]
    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let host = self.host.as_deref().unwrap_or("client.example");
        let mut head = format!("{} {} HTTP/1.1\r\nHost: {host}\r\n", self.method, self.target);
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        if let Some(body) = &self.body {
            head += &format!("Content-Length: {}\r\n", body.len());
        }
        head += "\r\n";
        [head.as_bytes(), self.body.as_deref().unwrap_or_default()].concat()
    }
}

/// A connection that stays open between requests.
#[derive(Debug)]
pub(crate) struct Connection(BufReader<TcpStream>);

impl Connection {
    pub(crate) fn open(address: SocketAddr) -> io::Result<Self> {
        Self::over(TcpStream::connect(address)?)
    }

    /// Over an open connection.
    pub(crate) fn over(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self(BufReader::new(stream)))
    }

    /// The stream of the connection. Nothing may have been read ahead.
    pub(crate) fn into_stream(self) -> TcpStream {
        self.0.into_inner()
    }

    pub(crate) fn send(&mut self, request: &Request) -> io::Result<Answer> {
        // A server may refuse a request before it is complete, and close the connection. Its answer is still read.
        let _told_below = self.write(&request.to_bytes());
        read_answer(&mut self.0, request.method != "HEAD")?.ok_or_else(no_answer)
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.get_mut().write_all(bytes)
    }

    /// The next answer to a request other than HEAD; `None` once the server has closed.
    pub(crate) fn read(&mut self) -> io::Result<Option<Answer>> {
        read_answer(&mut self.0, true)
    }

    /// The next answer to a HEAD request.
    pub(crate) fn read_head(&mut self) -> io::Result<Option<Answer>> {
        read_answer(&mut self.0, false)
    }

    /// Whether the next answer is `100 Continue`.
    #[must_use]
    pub(crate) fn is_asked_to_continue(&mut self) -> bool {
        matches!(read_head(&mut self.0), Ok(Some(answer)) if answer.status == 100)
    }

    /// Whether the server closes without another byte.
    #[must_use]
    pub(crate) fn ends(&mut self) -> bool {
        let mut rest = Vec::new();
        match self.0.read_to_end(&mut rest) {
            Ok(_) => rest.is_empty(),
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        }
    }
}

/// An answer, read to its end.
#[must_use = "an answer may be a refusal"]
#[derive(Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Answer {
    /// The field of that name, if the answer has it. Panics if it has two of them.
    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(given, _)| given.eq_ignore_ascii_case(name));
        let first = values.next().map(|(_, value)| value.as_str());
        assert!(values.next().is_none(), "`{name}` twice: {self:?}");
        first
    }

    pub(crate) fn header_names(&self) -> impl Iterator<Item = &str> {
        self.headers.iter().map(|(name, _)| name.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("no JSON ({error}): {self:?}"))
    }

    /// Returns the answer. Panics unless it has this status.
    #[track_caller]
    pub(crate) fn with_status(&self, status: u16) -> &Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    /// The body of a problem. Panics unless the answer is a complete problem of that kind.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16, code: &str) -> Value {
        let body = self.with_status(status).json();
        assert_eq!(body["code"], code, "{self:?}");
        assert_eq!(body["status"], status, "{self:?}");
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        assert_eq!(body["request_id"].as_str(), self.header("x-request-id"), "{self:?}");
        let explained = body["type"].as_str().is_some_and(|url| url.ends_with(&format!("/docs/errors#{code}")));
        assert!(explained, "{self:?}");
        for words in ["title", "detail"] {
            assert!(body[words].as_str().is_some_and(|words| !words.is_empty()), "{self:?}");
        }
        body
    }

    /// Panics unless the answer is `validation-failed` and names exactly these fields, as (pointer, code), in any
    /// order.
    #[track_caller]
    pub(crate) fn refuses(&self, expected: &[(&str, &str)]) {
        let body = self.problem(422, "validation-failed");
        let errors = body["errors"].as_array().unwrap_or_else(|| panic!("no errors: {self:?}"));
        let mut faults: Vec<_> =
            errors.iter().map(|error| (error["pointer"].as_str(), error["code"].as_str())).collect();
        let mut expected: Vec<_> = expected.iter().map(|(pointer, code)| (Some(*pointer), Some(*code))).collect();
        faults.sort_unstable();
        expected.sort_unstable();
        assert_eq!(faults, expected);
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?} {}", self.status, self.headers, self.text())
    }
}

fn no_answer() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed without an answer")
}

fn read_answer(stream: &mut BufReader<TcpStream>, bodies: bool) -> io::Result<Option<Answer>> {
    loop {
        let Some(mut answer) = read_head(stream)? else {
            return Ok(None);
        };
        if (100..200).contains(&answer.status) {
            continue;
        }
        if bodies && !matches!(answer.status, 204 | 304) {
            answer.body = read_body(stream, answer.header("content-length"))?;
        }
        return Ok(Some(answer));
    }
}

fn read_head(stream: &mut BufReader<TcpStream>) -> io::Result<Option<Answer>> {
    let Some(first) = read_line(stream)? else {
        return Ok(None);
    };
    let status = first.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| io::Error::other(format!("no status line: {first}")))?;
    let mut headers = Vec::new();
    while let Some(line) = read_line(stream)?.filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').ok_or_else(|| io::Error::other(format!("no field: {line}")))?;
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    Ok(Some(Answer { status, headers, body: Vec::new() }))
}

/// A line without its end; `None` at the end of the stream.
fn read_line(stream: &mut BufReader<TcpStream>) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    stream.read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Ok(None);
    }
    let line = line.strip_suffix(b"\r\n").ok_or_else(|| io::Error::other("a line that does not end in CRLF"))?;
    Ok(Some(String::from_utf8_lossy(line).into_owned()))
}

fn read_body(stream: &mut BufReader<TcpStream>, length: Option<&str>) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    match length.map(str::parse) {
        Some(Ok(length)) => {
            body.resize(length, 0);
            stream.read_exact(&mut body)?;
        }
        Some(Err(_)) => return Err(io::Error::other("a Content-Length that is no number")),
        None => {
            stream.read_to_end(&mut body)?;
        }
    }
    Ok(body)
}
