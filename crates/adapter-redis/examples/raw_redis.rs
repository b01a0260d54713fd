//! The least that Redis can be asked: GETs over the same client and one connection. `just bench` measures against it.
//!
//!     raw_redis URL TASKS SECONDS FILE-OF-KEYS

use std::{env::args, fs, sync::Arc, time::Duration};

use redis::AsyncConnectionConfig;
use tokio::time::{Instant, timeout_at};

#[tokio::main(flavor = "current_thread")]
#[expect(clippy::disallowed_macros, clippy::print_stdout, reason = "the figure is for whoever measures")]
async fn main() {
    let [url, tasks, seconds, file] = args().skip(1).collect::<Vec<_>>().try_into().expect("four arguments");
    let tasks: usize = tasks.parse().expect("a number of tasks");
    let seconds: u64 = seconds.parse().expect("a number of seconds");
    let keys = fs::read_to_string(file).expect("a file of keys");
    let keys: Arc<Vec<String>> = Arc::new(keys.lines().map(str::to_owned).collect());
    let client = redis::Client::open(url).expect("an address of Redis");
    let config = AsyncConnectionConfig::new().set_response_timeout(None);
    let connection = client.get_multiplexed_async_connection_with_config(&config).await.expect("a connection");
    let deadline = Instant::now() + Duration::from_secs(seconds);
    let asking: Vec<_> = (0..tasks)
        .map(|number| {
            let (mut connection, keys) = (connection.clone(), Arc::clone(&keys));
            tokio::spawn(async move {
                let mut asked = 0_u64;
                for key in keys.iter().skip(number).step_by(tasks).cycle() {
                    let command = redis::cmd("GET").arg(key).to_owned();
                    let Ok(answer) = timeout_at(deadline, command.query_async(&mut connection)).await else { break };
                    let _text: String = answer.expect("the key is there");
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
