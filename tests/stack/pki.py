"""The certificates, tokens and kubeconfigs of one run; all of it is thrown away with the run folder.

The stack's parts ask for what they need.  Nothing here is a secret worth keeping: it opens a control plane that lives
for minutes in a namespace nobody else can reach.
"""

from __future__ import annotations

import base64
import secrets
from dataclasses import dataclass, field
from pathlib import Path

import trustme
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.stack.addresses import APISERVER

SERVER = f"https://127.0.0.1:{APISERVER}"


@dataclass(frozen=True)
class Certificate:
    """Paths of a certificate chain and its key, as programs want them on their command line."""

    cert: Path
    key: Path


@dataclass
class Pki:
    """One certificate authority for everything, one for the apiserver as a proxy, and a token per account."""

    folder: Path
    ca: trustme.CA = field(default_factory=trustme.CA)
    front_proxy_ca: trustme.CA = field(default_factory=trustme.CA)
    tokens: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Write the authorities and the key that signs service account tokens."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.ca.cert_pem.write_to_path(str(self.ca_cert))
        self.ca.private_key_pem.write_to_path(str(self.ca_key))
        self.front_proxy_ca.cert_pem.write_to_path(str(self.front_proxy_ca_cert))
        _write_key_pair(self.service_account_key, self.service_account_public_key)

    @property
    def ca_cert(self) -> Path:
        """The authority that signs all servers' certificates."""
        return self.folder / "ca.crt"

    @property
    def ca_key(self) -> Path:
        """Its key: the controller manager signs with it."""
        return self.folder / "ca.key"

    @property
    def ca_bundle(self) -> str:
        """The authority as webhooks and APIServices want it, base64 of the PEM."""
        return base64.b64encode(self.ca_cert.read_bytes()).decode()

    @property
    def front_proxy_ca_cert(self) -> Path:
        """The authority of the certificate with which the apiserver calls aggregated APIs."""
        return self.folder / "front-proxy-ca.crt"

    @property
    def service_account_key(self) -> Path:
        """The key that signs service account tokens."""
        return self.folder / "service-account.key"

    @property
    def service_account_public_key(self) -> Path:
        """The key that verifies service account tokens."""
        return self.folder / "service-account.pub"

    def issue(self, name: str, *identities: str, by: trustme.CA | None = None) -> Certificate:
        """Issue a certificate for the given names and addresses; ``name`` becomes common name and file name."""
        leaf = (by or self.ca).issue_cert(*identities, common_name=name)
        issued = Certificate(self.folder / f"{name}.crt", self.folder / f"{name}.key")
        leaf.private_key_pem.write_to_path(str(issued.key))
        issued.cert.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
        return issued

    def write_tokens(self, *accounts: str) -> Path:
        """Give each account a token and all rights; return the apiserver's token file.

        Accounts differ so that the audit log tells who did what, not to keep anybody from anything.
        """
        self.tokens = {account: secrets.token_hex(16) for account in accounts}
        path = self.folder / "tokens.csv"
        path.write_text("".join(f'{token},{name},{name},"system:masters"\n' for name, token in self.tokens.items()))
        return path

    def kubeconfig(self, account: str) -> Path:
        """Write the kubeconfig of an account that :meth:`write_tokens` knows."""
        path = self.folder / f"{account.replace(':', '-')}.kubeconfig"
        path.write_text(kubeconfig_text(SERVER, self.ca_bundle, self.tokens[account]))
        return path


def kubeconfig_text(server: str, ca_bundle: str, token: str) -> str:
    """Return a kubeconfig with one context, ``aigateway-stack``."""
    name = "aigateway-stack"
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": name, "cluster": {"server": server, "certificate-authority-data": ca_bundle}}],
            "users": [{"name": name, "user": {"token": token}}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
            "current-context": name,
        }
    )


def _write_key_pair(private: Path, public: Path) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
    )
    public.write_bytes(
        key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
