# doc: what is installed beside the manual
dist_doc_DATA = README NEWS SECURITY doc/containers doc/moving doc/python
orchestratordir = $(docdir)/orchestrator
dist_orchestrator_DATA = etc/orchestrator/Containerfile etc/orchestrator/kubernetes.yaml
