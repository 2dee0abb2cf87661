"""What `helm test` runs in a pod: is AIGatewayPolicy served, does a ready replica answer, and is it this version?

Exit code 0: all is well; 1: not, and the last line says what.
"""

import json
import os
import ssl
import sys
import urllib.request
from pathlib import Path

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
API = "/apis/aigateway.dev/v1alpha1"


def served_kinds() -> set[str]:
    """Return the kinds that the API server has in the group, with the token of this pod."""
    server = f"https://{os.environ['KUBERNETES_SERVICE_HOST']}:{os.environ['KUBERNETES_SERVICE_PORT']}"
    token = (ACCOUNT / "token").read_text()
    headers = {"Authorization": f"Bearer {token}"}
    request = urllib.request.Request(server + API, headers=headers)  # noqa: S310 (https, as composed above)
    tls = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
    with urllib.request.urlopen(request, context=tls, timeout=10) as answer:  # noqa: S310 (same)
        return {item["kind"] for item in json.load(answer)["resources"]}


def metrics() -> str:
    """Return what a ready replica says of itself."""
    with urllib.request.urlopen(os.environ["METRICS_URL"], timeout=10) as answer:  # noqa: S310 (the chart's own)
        text: str = answer.read().decode()
        return text


try:
    if "AIGatewayPolicy" not in served_kinds():
        sys.exit(f"{API} has no AIGatewayPolicy")
    wanted = f'aigateway_build_info{{version="{os.environ["VERSION"]}"}}'
    if wanted not in metrics():
        sys.exit(f"the operator does not say {wanted}: another version answers")
except OSError as error:
    sys.exit(f"no answer: {error}")
