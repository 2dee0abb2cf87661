"""AIGateway: a kopf operator that turns `AIGatewayPolicy` objects into Istio routing and KEDA scaling.

This module holds the version and nothing else. The build reads it as text and the command line prints it, so it must
import nothing: neither the build nor `aigateway --version` may depend on what the rest of the package needs.
"""

__version__ = "0.1.0"
