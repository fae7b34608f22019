import json
from support.server_process import Api
def test_x(api: Api, acme: str) -> None:
    print(json.dumps(api.ok("GET", "/v1/plans"), indent=1)[:6000])
    api.ok("PUT", f"/v1/accounts/{acme}/members/ann", json={"role":"owner","seat":True})
    token = api.ok("POST", f"/v1/accounts/{acme}/tokens", json={"scopes":["summary:read"],"member":"ann"})["token"]
    with Api(api.url, key=token) as page:
        print(json.dumps(page.ok("GET", f"/v1/accounts/{acme}/summary"), indent=1))
