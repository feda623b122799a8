# A pod that calls: nothing but curl, for whoever wants to see the router from inside the local cluster.
ARG BASE=curlimages/curl
FROM ${BASE}
USER 10001:10001
ENTRYPOINT ["curl"]
