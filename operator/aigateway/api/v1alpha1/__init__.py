"""Version v1alpha1 of the API: what a user may write.

One model per object of the YAML.  Docstrings and field descriptions are the text of ``kubectl explain`` and of the
reference page.  Shape only: what fields owe each other is in :mod:`aigateway.api.rules`.
"""

from aigateway.api.v1alpha1.policy import API_VERSION, KIND, AIGatewayPolicy, Metadata, PolicySpec

__all__ = ["API_VERSION", "KIND", "AIGatewayPolicy", "Metadata", "PolicySpec"]
