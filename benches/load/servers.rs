//! What the daemon is compared with: a handler that only answers, and one that appends to a plain file.

use actix_web::web::{self, Bytes, Data};
use actix_web::{App, HttpResponse, HttpServer};
use std::fs::File;
use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::sync::mpsc::{SyncSender, sync_channel};
use tokio::sync::oneshot;

const GROUP_MAX: usize = 64;

/// Reads the body and answers 200.
pub fn serve_bare() -> u16 {
    serve(|config| {
        config.default_service(web::to(|body: Bytes| async move {
            HttpResponse::Ok().body(format!("{}", body.len()))
        }));
    })
}

type Append = (Bytes, oneshot::Sender<()>);

/// The same, after the body is in a file: appended by one thread, one `fdatasync` for all that waited.
pub fn serve_plain(path: &Path) -> u16 {
    let (queue, bodies) = sync_channel::<Append>(4096);
    let mut file = File::create(path).unwrap();
    std::thread::spawn(move || {
        while let Ok(first) = bodies.recv() {
            let mut group = vec![first];
            group.extend(bodies.try_iter().take(GROUP_MAX - 1));
            let bytes: Vec<u8> = group.iter().flat_map(|(body, _)| body.iter().copied()).collect();
            file.write_all(&bytes).unwrap();
            file.sync_data().unwrap();
            group.into_iter().for_each(|(_, done)| {
                let _ = done.send(());
            });
        }
    });
    let queue = Data::new(queue);
    serve(move |config| {
        config.app_data(queue.clone()).default_service(web::to(
            |body: Bytes, queue: Data<SyncSender<Append>>| async move {
                let (done, synced) = oneshot::channel();
                queue.send((body, done)).unwrap();
                synced.await.unwrap();
                HttpResponse::Ok().body("1")
            },
        ));
    })
}

/// An actix server with two workers, as the daemon has on two cores, for the rest of the process.
pub fn serve(configure: impl Fn(&mut web::ServiceConfig) + Clone + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        actix_web::rt::System::new().block_on(async move {
            let factory = move || App::new().configure(configure.clone());
            HttpServer::new(factory)
                .workers(2)
                .disable_signals()
                .listen(listener)
                .unwrap()
                .run()
                .await
                .unwrap();
        });
    });
    port
}
