//! Baseline for redirects from PostgreSQL: the statement of a redirect over the bare driver, on as many connections as
//! the store uses for redirects. `just bench` compares the store with it.
//!
//!     raw_postgres URL CONNECTIONS SECONDS FILE-OF-CODES

use std::{env::args, fs, sync::Arc, time::Duration};

use tokio::time::{Instant, timeout_at};
use tokio_postgres::NoTls;

#[tokio::main(flavor = "current_thread")]
#[expect(clippy::disallowed_macros, clippy::print_stdout, reason = "the figure is the result of the benchmark")]
async fn main() {
    let [url, connections, seconds, file] = args().skip(1).collect::<Vec<_>>().try_into().expect("four arguments");
    let connections: usize = connections.parse().expect("a number of connections");
    let seconds: u64 = seconds.parse().expect("a number of seconds");
    let codes = fs::read_to_string(file).expect("a file of codes");
    let codes: Arc<Vec<String>> = Arc::new(codes.lines().map(str::to_owned).collect());
    let deadline = Instant::now() + Duration::from_secs(seconds);
    let asking: Vec<_> = (0..connections)
        .map(|number| {
            let (url, codes) = (url.clone(), Arc::clone(&codes));
            tokio::spawn(async move {
                let (client, connection) = tokio_postgres::connect(&url, NoTls).await.expect("a connection");
                tokio::spawn(connection);
                let text = "SELECT target, redirect, forward_query, expires_at, deleted_at, generation \
                            FROM links WHERE code = $1";
                let statement = client.prepare(text).await.expect("the schema is there");
                let mut asked = 0_u64;
                for code in codes.iter().skip(number).step_by(connections).cycle() {
                    let answer = timeout_at(deadline, client.query_opt(&statement, &[code])).await;
                    let Ok(answer) = answer else { break };
                    answer.expect("an answer").expect("the code is there");
                    asked += 1;
                }
                asked
            })
        })
        .collect();
    let mut asked = 0;
    for one in asking {
        asked += one.await.expect("no panic");
    }
    println!("{}", asked / seconds);
}
