"""MLflow's own server in one process: ``python -m tests.search.mlflow_server DATABASE ARTIFACTS PORT``."""

import os
import sys
from pathlib import Path

if __name__ == "__main__":
    database, artifacts, port = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    os.environ |= {
        "_MLFLOW_SERVER_FILE_STORE": f"sqlite:///{database}",
        "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
        "_MLFLOW_SERVER_ARTIFACT_DESTINATION": str(artifacts),
        "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    from mlflow.server import app
    from werkzeug.serving import make_server

    server = make_server("127.0.0.1", port, app, threaded=True)
    print("up", flush=True)
    server.serve_forever()
